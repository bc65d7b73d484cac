// Read side of liburcu-memb. The writer pays the fence (membarrier), the reader two stores to its
// own thread-local word.
#pragma once

#include "qs_sanitizer.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// Repeats liburcu's declaration to add the TLS model: without it, position-independent code asks
// __tls_get_addr for the address, a call on every read.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

/// Even, and another one after each grace period that starts through us. With the phase in
/// liburcu's word it names a phase: readers yield so often in each.
extern unsigned long qs_memb_grace_period;

/// After the outermost leave, while a grace period sleeps. `word` is the thread's word in the
/// section: it tells whether the grace period waits for that section. See wake.h.
void qs_memb_wake_cold(unsigned long word) __attribute__((cold, noinline));
#endif

#if defined(QUIESCENCE_OUT_OF_LINE)
/// Enters a read-side critical section; sections nest.
static inline void qs_memb_enter(void) {
  // An unregistered reader is invisible to synchronize: what it reads could be freed under it.
  if (__builtin_expect(!qs_thread.memb_registered, 0)) return qs_memb_enter_cold();
  urcu_memb_read_lock();
}

/// Leaves the innermost section.
static inline void qs_memb_leave(void) { qs_memb_leave_cold(); }
#else
/// In the thread's word, outside of sections and in them: the thread is registered through us, and
/// liburcu uses membarrier(2). So one comparison answers all that an enter has to ask, where
/// liburcu's own asks for the fence each time. The top bit: liburcu looks at the depth alone, and
/// at the phase where the depth is not 0. An unlock of other code on this thread may drop it; then
/// the next enter takes the cold way, which sets it again.
#define QS_MEMB_READY (1UL << (8 * sizeof(unsigned long) - 1))
_Static_assert(
    (QS_MEMB_READY & (URCU_GP_CTR_PHASE | URCU_GP_CTR_NEST_MASK)) == 0, "apart from the phase and the depth");
_Static_assert(URCU_GP_CTR_PHASE > URCU_GP_CTR_NEST_MASK, "an addition to the depth does not reach the phase");

/// Enters a read-side critical section; sections nest.
static inline void qs_memb_enter(void) {
  cmm_barrier();
  unsigned long word = urcu_memb_reader.ctr;
  if (__builtin_expect(word == QS_MEMB_READY, 1)) {
    // liburcu's lock. The barrier keeps the section's loads behind the store, with the writer's
    // membarrier: without it a grace period could end while they are under way.
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, _CMM_LOAD_SHARED(urcu_memb_gp.ctr) + QS_MEMB_READY);
    cmm_barrier();
  } else if (word & URCU_GP_CTR_NEST_MASK) {
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, word + URCU_GP_COUNT);
    cmm_barrier();
  } else {
    // An unregistered reader is invisible to synchronize: what it reads could be freed under it.
    qs_memb_enter_cold();
  }
}

/// Leaves the innermost section.
static inline void qs_memb_leave(void) {
  // liburcu's unlock, with what is rare moved out of line so that the caller's code stays small,
  // and another way to wake: see wake.h. The first barrier keeps the section's accesses before the
  // store: without it the grace period could end while they are under way. The second keeps the
  // store before the futex test: without it the writer could sleep after we looked, and never wake.
  cmm_barrier();
  unsigned long word = urcu_memb_reader.ctr;
  unsigned long depth = word & URCU_GP_CTR_NEST_MASK;
  if (__builtin_expect((word & (QS_MEMB_READY | URCU_GP_CTR_NEST_MASK)) == (QS_MEMB_READY | URCU_GP_COUNT), 1)) {
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, QS_MEMB_READY);
    cmm_barrier();
    if (QS_SELDOM(uatomic_read(&urcu_memb_gp.futex) != 0)) {
      // A section of the current phase is not waited for. When the thread has also yielded as often
      // as it may, nothing is left to do: asked here, since a call at each leave would cost the
      // others a part of their reads for as long as a reader stalls.
      unsigned long now = CMM_LOAD_SHARED(urcu_memb_gp.ctr);
      if ((now ^ word) != QS_MEMB_READY ||
          (now ^ CMM_LOAD_SHARED(qs_memb_grace_period)) != qs_thread.yields[QS_MEMB].used_up)
        qs_memb_wake_cold(word);
    }
  } else if (depth > URCU_GP_COUNT && depth < QS_ANNOUNCED) {
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, word - URCU_GP_COUNT);
  } else {
    qs_memb_leave_cold();
  }
  cmm_barrier();
}
#endif

/// Whether the calling thread is inside a section.
static inline bool qs_memb_is_inside(void) { return urcu_memb_read_ongoing() != 0; }

/// Waits until every section that is open now has been left. Never call it inside a section.
void qs_memb_synchronize(void);
