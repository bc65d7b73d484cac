// Read side of liburcu-mb: a full fence at both ends of a section, no system call anywhere.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_reader urcu_mb_reader __attribute__((tls_model("initial-exec")));

/// As qs_memb_wake_cold.
void qs_mb_wake_cold(unsigned long word) __attribute__((cold, noinline));
#endif

/// Enters a read-side critical section; sections nest.
static inline void qs_mb_enter(void) {
  // An unregistered reader is invisible to synchronize: what it reads could be freed under it.
  if (__builtin_expect(!qs_thread.mb_registered, 0)) return qs_mb_enter_cold();
  urcu_mb_read_lock();
}

/// Leaves the innermost section.
QS_UNSANITIZED static inline void qs_mb_leave(void) {
#if defined(QUIESCENCE_OUT_OF_LINE)
  qs_mb_leave_cold();
#else
  unsigned long word = urcu_mb_reader.ctr;
  unsigned long depth = word & URCU_GP_CTR_NEST_MASK;
  if (__builtin_expect(depth == URCU_GP_COUNT, 1)) {
    // liburcu's unlock, but for the way to wake: see wake.h. The first fence keeps the section's
    // accesses before the store, the second one keeps the store before the futex test: without it
    // the writer could sleep after we looked.
    cmm_smp_mb();
    _CMM_STORE_SHARED(urcu_mb_reader.ctr, word - URCU_GP_COUNT);
    cmm_smp_mb();
    if (__builtin_expect(uatomic_read(&urcu_mb_gp.futex) != 0, 0)) qs_mb_wake_cold(word);
  } else if (depth > URCU_GP_COUNT && depth < QS_ANNOUNCED) {
    _CMM_STORE_SHARED(urcu_mb_reader.ctr, word - URCU_GP_COUNT);
  } else {
    qs_mb_leave_cold();
  }
  cmm_barrier();
#endif
}

/// Whether the calling thread is inside a section.
static inline bool qs_mb_is_inside(void) { return urcu_mb_read_ongoing() != 0; }

/// Waits until every section that is open now has been left. Never call it inside a section.
void qs_mb_synchronize(void);
