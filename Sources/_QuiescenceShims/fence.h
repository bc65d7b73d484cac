#pragma once

/// `qs_fence_use_membarrier` under the registry lock. No malloc: the first read of Bulletproof may
/// be in a signal handler.
void qs_fence_use_membarrier_locked(void);
