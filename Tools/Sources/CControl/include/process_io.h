// Watching another process, by a descriptor.
#pragma once

/// A descriptor that becomes readable when the parent process ends. -ESRCH when it has ended already.
int process_open_parent(void);
