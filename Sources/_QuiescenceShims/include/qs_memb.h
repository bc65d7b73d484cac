// Read side of liburcu-memb. The writer pays the fence (membarrier), the reader two stores to its
// own thread-local word.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// Repeats liburcu's declaration to add the TLS model: without it, position-independent code asks
// __tls_get_addr for the address, a call on every read.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

/// Wakes a grace period that sleeps for this reader.
void qs_memb_wake_cold(void) __attribute__((cold, noinline));
#endif

/// Enters a read-side critical section; sections nest.
static inline void qs_memb_enter(void) {
  // An unregistered reader is invisible to synchronize: what it reads could be freed under it.
  if (__builtin_expect(!qs_thread.memb_registered, 0)) qs_memb_enter_cold();
  urcu_memb_read_lock();
}

/// Leaves the innermost section.
static inline void qs_memb_leave(void) {
#if defined(QUIESCENCE_OUT_OF_LINE)
  qs_memb_leave_cold();
#else
  // liburcu's unlock, step for step, with the futex call moved out of line so that the caller's
  // code stays small. The first barrier keeps the section's accesses before the store: without
  // it the grace period could end while they are under way. The second keeps the store before
  // the futex test: without it the writer could sleep after we looked, and never wake.
  unsigned long counter = urcu_memb_reader.ctr;
  if (__builtin_expect((counter & URCU_GP_CTR_NEST_MASK) == URCU_GP_COUNT, 1)) {
    urcu_memb_smp_mb_slave();
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, counter - URCU_GP_COUNT);
    urcu_memb_smp_mb_slave();
    if (__builtin_expect(uatomic_read(&urcu_memb_gp.futex) == -1, 0)) qs_memb_wake_cold();
  } else if (__builtin_expect((counter & QS_ANNOUNCED) != 0, 0)) {
    qs_memb_leave_cold();
  } else if (__builtin_expect((counter & URCU_GP_CTR_NEST_MASK) == 0, 0)) {
    // One less than none would be as deep as can be: no grace period would end any more.
    qs_unbalanced_cold("Memb");
  } else {
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, counter - URCU_GP_COUNT);
  }
  cmm_barrier();
#endif
}

/// Whether the calling thread is inside a section.
static inline bool qs_memb_is_inside(void) { return urcu_memb_read_ongoing() != 0; }

/// Waits until every section that is open now has been left. Never call it inside a section.
void qs_memb_synchronize(void);
