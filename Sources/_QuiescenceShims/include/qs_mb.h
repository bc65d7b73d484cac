// Read side of liburcu-mb: a full fence at both ends of a section, no system call anywhere.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_reader urcu_mb_reader __attribute__((tls_model("initial-exec")));
#endif

/// Enters a read-side critical section; sections nest.
static inline void qs_mb_enter(void) {
  // An unregistered reader is invisible to synchronize: what it reads could be freed under it.
  if (__builtin_expect(!qs_thread.mb_registered, 0)) return qs_mb_enter_cold();
  urcu_mb_read_lock();
}

/// Leaves the innermost section.
static inline void qs_mb_leave(void) {
#if defined(QUIESCENCE_OUT_OF_LINE)
  qs_mb_leave_cold();
#else
  unsigned long depth = urcu_mb_reader.ctr & URCU_GP_CTR_NEST_MASK;
  if (__builtin_expect((depth & QS_ANNOUNCED) != 0, 0))
    qs_mb_leave_cold();
  else if (__builtin_expect(depth == 0, 0))
    qs_unbalanced_cold("MB");
  else
    urcu_mb_read_unlock();
#endif
}

/// Whether the calling thread is inside a section.
static inline bool qs_mb_is_inside(void) { return urcu_mb_read_ongoing() != 0; }

/// Waits until every section that is open now has been left. Never call it inside a section.
void qs_mb_synchronize(void);
