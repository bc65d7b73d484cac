// liburcu-qsbr: a thread is a reader from going online to going offline, and says itself when it
// holds nothing. Reads cost nothing.
#pragma once

#include "qs_liburcu.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_qsbr_reader urcu_qsbr_reader __attribute__((tls_model("initial-exec")));
#endif

/// Whether the calling thread is online.
static inline bool qs_qsbr_is_online(void) { return urcu_qsbr_read_ongoing() != 0; }

/// Registers the thread if it is not registered, and leaves it offline.
void qs_qsbr_register(void);

/// Registers the thread when needed and brings it online.
void qs_qsbr_go_online(void);

/// Takes the thread offline: no grace period waits for it.
void qs_qsbr_go_offline(void);

/// Lets the grace period that waits for this thread go on.
void qs_qsbr_quiescent_state_cold(void) __attribute__((cold, noinline));

/// Gives the processor up while a grace period waits for other threads.
void qs_qsbr_yield_cold(void) __attribute__((cold, noinline));

/// Says that the calling thread holds no reference. Two loads of one cache line and two compares
/// when no grace period waits.
static inline void qs_qsbr_quiescent_state(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // liburcu's own test: the thread has seen the last grace period that started.
  unsigned long now = CMM_LOAD_SHARED(urcu_qsbr_gp.ctr);
  if (__builtin_expect(now == urcu_qsbr_reader.ctr, 1)) {
    // The grace period may wait for others, which are preempted: see wake.h. No call when the
    // thread has yielded as often as it may, for as long as a reader stalls.
    if (QS_SELDOM(uatomic_read(&urcu_qsbr_gp.futex) != 0) && qs_thread.yields[QS_QSBR].used_up != now) qs_qsbr_yield_cold();
    return;
  }
#endif
  qs_qsbr_quiescent_state_cold();
}

/// In the thread's word from going online through us to going offline.
#define QS_QSBR_ONLINE (UINT32_C(1) << 31)

/// In the thread's word while it is online without a scope: its own code takes it offline.
#define QS_QSBR_UNSCOPED (UINT32_C(1) << 30)

static inline uint32_t qs_qsbr_depth(void) {
  return qs_thread.qsbr_word & ~(QS_QSBR_ONLINE | QS_QSBR_UNSCOPED);
}

/// Whether the thread is online without a scope, and in no section.
static inline bool qs_qsbr_is_unscoped(void) {
  return qs_thread.qsbr_word == (QS_QSBR_ONLINE | QS_QSBR_UNSCOPED);
}

static inline void qs_qsbr_set_unscoped(bool is_unscoped) {
  if (is_unscoped)
    qs_thread.qsbr_word |= QS_QSBR_UNSCOPED;
  else
    qs_thread.qsbr_word &= ~QS_QSBR_UNSCOPED;
}

/// Nests, for a section whose end is where its beginning is: returns what to give to
/// `qs_qsbr_leave_to`; 0 when the thread did not go online through us and is in no section. Two
/// plain stores: with a count up and down again each read would wait for the one before it. One
/// word, which the compiler keeps in a register from one read to the next.
static inline uint32_t qs_qsbr_enter_from(void) {
  uint32_t word = qs_thread.qsbr_word;
  qs_thread.qsbr_word = QS_QSBR_ONLINE + 1;
  // Inside, so that a quiescent state in the section meets it.
  cmm_barrier();
  return word;
}

static inline void qs_qsbr_leave_to(uint32_t word) {
  cmm_barrier();
  qs_thread.qsbr_word = word;
}

/// Waits until every thread that is online now has passed a quiescent state or gone offline.
void qs_qsbr_synchronize(void);
