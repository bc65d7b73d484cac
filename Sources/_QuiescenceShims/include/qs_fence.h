// A fence in two halves: the side that runs often pays nothing, the side that runs rarely pays for both.
//
// For the pattern in which each side stores one word and then loads the other's. Both could load the old value when a
// store waits in its processor's buffer. The heavy side makes every processor that runs this process pass a full
// fence (membarrier(2), PRIVATE_EXPEDITED), so the light side only has to keep the compiler from reordering.
#pragma once

#include <stdbool.h>

/// Whether the kernel has the system call; set before main.
extern bool qs_has_membarrier;

static inline void qs_fence_light(void) {
  if (__builtin_expect(qs_has_membarrier, 1))
    __asm__ volatile("" ::: "memory");
  else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void qs_fence_heavy(void);
