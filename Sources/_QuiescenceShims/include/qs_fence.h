// A fence in two halves: the side that runs often pays nothing, the side that runs rarely pays for
// both.
//
// For the pattern in which each side stores one word and then loads the other's. Both could load
// the old value when a store waits in its processor's buffer. The heavy side makes every processor
// that runs this process pass a full fence (membarrier(2), PRIVATE_EXPEDITED), so the light side
// only has to keep the compiler from reordering.
//
// Until `qs_fence_use_membarrier`, and where the kernel refuses the system call then, both halves
// are full fences: a process that uses MB and QSBR alone calls membarrier(2) at its start only, and
// works under a filter that kills for it.
#pragma once

#include <stdbool.h>

/// Whether light halves are light.
extern bool qs_fence_is_light;

static inline void qs_fence_light(void) {
  if (__builtin_expect(qs_fence_is_light, 1))
    __asm__ volatile("" ::: "memory");
  else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/// Traps when membarrier(2) is refused that has worked before: light halves that are under way pass
/// no fence.
void qs_fence_heavy(void);

/// A full fence: for the same pattern, where a fence on both sides costs nothing that matters.
static inline void qs_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/// From now on the process relies on membarrier(2), if the kernel lets it. Called before the first
/// use of what cannot do without: Memb, Bulletproof, sleepable domains.
void qs_fence_use_membarrier(void);
