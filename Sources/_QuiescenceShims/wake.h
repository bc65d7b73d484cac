// What a reader does for a grace period that sleeps while the reader leaves its section.
//
// liburcu's grace period (`wait_for_readers` in urcu.c, the same in 0.13 and in the newest sources)
// waits twice: first for sections that are late from the phase before, then, after it has changed
// the phase, for the sections of the old phase. Each time it looks at the readers' words in rounds.
// From the 100th round on a round is:
//
//   waiter 1: futex = futex - 1, which makes -1 of 0
//   waiter 2: membarrier: a full fence on every processor that runs a thread of the process
//   waiter 3: reads the word of each reader that it still waits for. A reader whose word says
//             "outside", or the current phase, is taken off the list
//   waiter 4: the list is empty: futex = 0, and this wait is over. Otherwise sleeps while futex ==
//             -1; then the next round
//
// liburcu's leave wakes the waiter whichever section was left. Ours is:
//
//   reader 1: word = outside; the old value says in which phase the section began
//   reader 2: reads futex; 0: nothing to do
//   reader 3: reads gp.ctr; the section began in the current phase: does not wake
//   reader 4: if futex == -1: futex = 1 (QS_WOKEN), by one atomic instruction, and FUTEX_WAKE
//   reader 5: yields, in either case
//
// Why it is safe to skip the wake-up in reader 3. Assume that the waiter sleeps for ever, and that
// the section of reader R is on its list. In the waiter's last round waiter 3 found R's word in the
// section, of a phase other than that of gp.ctr.
//
//   a. Reader 1 comes after waiter 2: had it come before, the fence would have made it visible to
//      waiter 3. Readers 2 to 4 come after reader 1 in R's program order, so they see what the
//      waiter wrote before waiter 2, or something newer. (Without membarrier a full fence between
//      reader 1 and reader 2 does the same.)
//   b. gp.ctr does not change while R is on the waiter's list: only a waiter writes it, between its
//      two waits. So reader 3 compares the same phases as waiter 3 did. They differ: R does not
//      skip reader 4.
//   c. Reader 2 or 4 may find that futex is not -1 any more. Then another reader has changed it
//      since waiter 1 of the last round, and wakes the waiter. So the round was not the last one.
//
// Interleavings that look dangerous:
//
//   - The waiter changes the phase between reader 1 and reader 3. It does so after its first wait,
//     which either did not wait for R's section (of the current phase then) or has seen reader 1.
//     The second wait looks at R's word again. If it finds the section there, a. holds for a round
//     that follows the change: reader 3 sees the new phase, and R wakes. If it finds R outside, it
//     does not wait for R, and reader 3 may see either phase.
//   - R loads gp.ctr in its enter, is preempted, and stores it in its word after the waiter has
//     looked there and has changed the phase. This grace period does not wait for R's section. The
//     next one does, in its first wait: the section is of the old phase, by the same comparison in
//     waiter 3 and in reader 3.
//   - The same, but the phase changes twice before R stores its word. The section counts as one of
//     the current phase. The first wait of the next grace period passes it over. The second one
//     waits for it, and after the change of the phase it is old for reader 3 too. The phase is one
//     bit; it has no other way to wrap.
//   - A phase ends between reader 1 and reader 2, and R wakes a waiter that does not wait for R:
//     one more round.
//   - Sections nest: the outermost leave alone comes here, and the word holds the phase of the
//     outermost enter.
//
// A thread leaves at most one section of the old phase in each phase, so there are at most as many
// wake-ups as threads. In liburcu a waiter that waits for a stalled reader is woken at each leave
// of all others.
//
// Why a leave yields. With more readers than processors most sections that a grace period waits for
// are preempted. Their threads get a processor when the slice of a running reader ends, after
// milliseconds. So each reader that leaves while a grace period sleeps gives its slice up: the
// preempted reader runs, leaves, and wakes the waiter.
//
// Why QS_WOKEN, where liburcu's leave writes 0. The kernel may queue the woken waiter behind a
// reader on another processor, and let that reader finish its slice. With a 0 in futex that reader
// would not yield. (p99 of a grace period beside 8 readers on 2 processors: 4 ms, and 0.15 ms with
// QS_WOKEN.) The waiter takes both for "not -1" and starts the next round, in which waiter 1 makes
// 0 of QS_WOKEN: a round without sleep, and the next one has -1 again. Reader 4 writes QS_WOKEN in
// place of -1 alone, so the waiter is between waiter 1 and its next write to futex, and no QS_WOKEN
// is left over.
//
// Why a leave yields a limited number of times a phase. When the reader that is waited for is
// blocked, not preempted, yields do not help, and all others would yield at each of their leaves
// for as long as it stalls. So what a phase can cost is the number of threads times the limit times
// a system call. A lower limit is too low for many threads on a processor: a thread that has the
// earliest deadline gets the processor back from a yield.
//
// What a yield does not do:
//
//   - SCHED_FIFO and SCHED_RR threads yield to threads of their own priority only. A preempted
//     reader of a lower priority waits until they block, as it would without RCU.
//   - A SCHED_DEADLINE thread that yields gives the rest of its period away. It never yields.
//   - A thread that leaves a section while it holds a lock keeps the lock while others run. The
//     same happens when it is preempted there; the limit bounds how often.
//   - The waiter looks at the words 100 times before it sleeps. Readers do not know of it before
//     that, and do not yield to a waiter that is preempted meanwhile.
#pragma once

#include <sched.h>

#include "qs_sanitizer.h"
#include "qs_thread.h"

/// See `qs_lose_wakeups`.
bool qs_wakeups_are_lost(void);

/// In place of -1 in liburcu's futex: the waiter was woken, and does not run yet.
#define QS_WOKEN 1

/// Yields, unless the thread has done so as often as it may in the phase.
static inline void yield_to_others(struct qs_yields *yields, unsigned long phase) {
  if (yields->phase != phase) {
    yields->phase = phase;
    yields->count = sched_getscheduler(0) == SCHED_DEADLINE ? UINT32_MAX : 0;
  }
  uint32_t limit = qs_yield_limit();
  if (yields->count < limit) {
    yields->count++;
    qs_thread.yielded++;
    sched_yield();
  }
  // After the yield: leaves of a signal handler that interrupts it count as well, and one of them
  // may be the last.
  if (yields->count >= limit) yields->used_up = phase;
}

#if !defined(QUIESCENCE_OUT_OF_LINE)
/// Reader 4. The thread's word, or its mark under liburcu-qsbr, says that the waiter waits for the
/// thread.
QS_UNSANITIZED static inline void wake_waiter(struct urcu_gp *gp) {
  if (qs_wakeups_are_lost() || uatomic_cmpxchg(&gp->futex, -1, QS_WOKEN) != -1) return;
  qs_thread.wakes++;
  futex_async(&gp->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/// Reader 3 to 5. `word` is the thread's word in the section that it has left; `grace_period` is
/// even, and another one in each grace period that starts through us.
QS_UNSANITIZED static inline void leave_while_waiting(
    struct urcu_gp *gp, unsigned long word, struct qs_yields *yields, unsigned long grace_period) {
  unsigned long now = CMM_LOAD_SHARED(gp->ctr);
  if ((now ^ word) & URCU_GP_CTR_PHASE) wake_waiter(gp);
  // The lowest bit of gp.ctr is 1: never 0.
  yield_to_others(yields, now ^ grace_period);
}
#endif
