// Read side of liburcu-bp: registers by itself, wherever it is called, and keeps its readers' state outside
// thread-local memory, so that no end of a thread can leave it dangling.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_bp_reader *urcu_bp_reader __attribute__((tls_model("initial-exec")));
#endif

/// Enters a read-side critical section; sections nest.
static inline void qs_bp_enter(void) {
  // liburcu registers by itself; this is for the check at the end of the thread.
  if (__builtin_expect(!qs_thread.bp_registered, 0)) return qs_bp_enter_cold();
  urcu_bp_read_lock();
}

/// Leaves the innermost section.
QS_UNSANITIZED static inline void qs_bp_leave(void) {
#if defined(QUIESCENCE_OUT_OF_LINE)
  qs_bp_leave_cold();
#else
  if (__builtin_expect(urcu_bp_reader == NULL, 0)) qs_unbalanced_cold("Bulletproof");
  unsigned long depth = urcu_bp_reader->ctr & URCU_BP_GP_CTR_NEST_MASK;
  if (__builtin_expect((depth & QS_ANNOUNCED) != 0, 0))
    qs_bp_leave_cold();
  else if (__builtin_expect(depth == 0, 0))
    qs_unbalanced_cold("Bulletproof");
  else
    urcu_bp_read_unlock();
#endif
}

/// Whether the calling thread is inside a section.
static inline bool qs_bp_is_inside(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // liburcu's answer to an unregistered thread is to register it, under a lock.
  if (urcu_bp_reader == NULL) return false;
#endif
  return urcu_bp_read_ongoing() != 0;
}

/// Waits until every section that is open now has been left. Never call it inside a section: liburcu blocks
/// every signal in there.
void qs_bp_synchronize(void);
