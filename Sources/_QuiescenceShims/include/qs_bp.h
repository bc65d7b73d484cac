// Read side of liburcu-bp: registers by itself, wherever it is called, and keeps its readers' state
// outside thread-local memory, so that no end of a thread can leave it dangling.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_bp_reader *urcu_bp_reader __attribute__((tls_model("initial-exec")));
#endif

#if defined(QUIESCENCE_OUT_OF_LINE)
/// Enters a read-side critical section; sections nest.
static inline void qs_bp_enter(void) {
  // liburcu registers the thread; this is for the check at the end of the thread.
  if (__builtin_expect(!qs_thread.bp_registered, 0)) return qs_bp_enter_cold();
  urcu_bp_read_lock();
}

/// Leaves the innermost section.
static inline void qs_bp_leave(void) { qs_bp_leave_cold(); }
#else
/// In the thread's word, outside of sections and in them: the end of the thread is watched, and
/// liburcu uses membarrier(2). As QS_MEMB_READY: one comparison answers both questions and finds
/// the nesting depth. liburcu clears the word when it unregisters the thread, so the next enter
/// takes the cold way.
#define QS_BP_READY (1UL << (8 * sizeof(unsigned long) - 1))

/// Enters a read-side critical section; sections nest.
QS_UNSANITIZED static inline void qs_bp_enter(void) {
  struct urcu_bp_reader *reader = urcu_bp_reader;
  cmm_barrier();
  if (__builtin_expect(reader == NULL, 0)) return qs_bp_enter_cold();
  unsigned long word = reader->ctr;
  if (__builtin_expect(word == QS_BP_READY, 1)) {
    // liburcu's lock. The barrier keeps the section's loads behind the store, with the writer's
    // membarrier: without it a grace period could end while they are under way.
    _CMM_STORE_SHARED(reader->ctr, _CMM_LOAD_SHARED(urcu_bp_gp.ctr) + QS_BP_READY);
    cmm_barrier();
  } else if (word & URCU_BP_GP_CTR_NEST_MASK) {
    _CMM_STORE_SHARED(reader->ctr, word + URCU_BP_GP_COUNT);
    cmm_barrier();
  } else {
    qs_bp_enter_cold();
  }
}

/// Leaves the innermost section.
///
/// Neither wakes nor yields, as the other flavors do (wake.h): a grace period of liburcu-bp sleeps
/// in poll(2) for 10 ms and not on a futex, so nothing wakes it and nothing tells a reader that it
/// sleeps. Readers that yielded would run sooner; the grace period would still end with its 10 ms.
QS_UNSANITIZED static inline void qs_bp_leave(void) {
  struct urcu_bp_reader *reader = urcu_bp_reader;
  // liburcu's unlock. The barrier keeps the section's accesses before the store: without it the
  // grace period could end while they are under way. Nothing follows the store: liburcu-bp's grace
  // periods look again by themselves.
  cmm_barrier();
  if (__builtin_expect(reader == NULL, 0)) return qs_bp_leave_cold();
  unsigned long word = reader->ctr;
  unsigned long depth = word & URCU_BP_GP_CTR_NEST_MASK;
  if (__builtin_expect((word & (QS_BP_READY | URCU_BP_GP_CTR_NEST_MASK)) == (QS_BP_READY | URCU_BP_GP_COUNT), 1))
    _CMM_STORE_SHARED(reader->ctr, QS_BP_READY);
  else if (depth > URCU_BP_GP_COUNT && depth < QS_ANNOUNCED)
    _CMM_STORE_SHARED(reader->ctr, word - URCU_BP_GP_COUNT);
  else
    qs_bp_leave_cold();
  cmm_barrier();
}
#endif

/// Whether the calling thread is inside a section.
static inline bool qs_bp_is_inside(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // liburcu's answer to an unregistered thread is to register it, under a lock.
  if (urcu_bp_reader == NULL) return false;
#endif
  return urcu_bp_read_ongoing() != 0;
}

/// Waits until every section that is open now has been left. Never call it inside a section:
/// liburcu blocks every signal in there.
void qs_bp_synchronize(void);
