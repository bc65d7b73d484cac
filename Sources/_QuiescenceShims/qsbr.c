#define _GNU_SOURCE
#include "qs_qsbr.h"

#include "order.h"
#include "registry.h"
#include "wake.h"

static struct order qsbr_order;

static bool is_registered(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Also by other code: as in memb.c.
  if (urcu_qsbr_reader.registered) return true;
#endif
  return qs_reader_self.registered[QS_QSBR];
}

// Registers the thread online, or brings it online.
static void register_qsbr(void) {
  // The thread's own word, which liburcu keeps: no lock.
  if (is_registered() || qs_registry_is_lost(QS_QSBR)) return urcu_qsbr_thread_online();
  if (!qs_reader_self.is_ending) qs_leave_at_end();
  qs_registry_lock();
  urcu_qsbr_register_thread();
  qs_registry_add(QS_QSBR);
  qs_registry_unlock();
}

static void unregister_qsbr(void) {
  urcu_qsbr_unregister_thread();
  qs_registry_remove(QS_QSBR);
}

void qs_qsbr_register(void) {
  if (qs_qsbr_is_online() || is_registered()) return;
  qs_qsbr_go_online();
  qs_qsbr_go_offline();
}

#if defined(QUIESCENCE_OUT_OF_LINE)
static void leave_qsbr(void) { urcu_qsbr_thread_offline(); }
static void renew_qsbr(void) { urcu_qsbr_quiescent_state(); }
#else
// This needs less than wake.h: the waiter marks the structure of each reader that it waits for
// (`waiting`), so a thread without the mark need not wake it. liburcu
// numbers these grace periods.
QS_UNSANITIZED static void report(unsigned long word) {
  // The first fence keeps what the thread has read before the store, the second one keeps the store
  // before the look at the mark and at the futex: without it the waiter could sleep after we
  // looked.
  cmm_smp_mb();
  _CMM_STORE_SHARED(urcu_qsbr_reader.ctr, word);
  cmm_smp_mb();
  bool is_waiting = uatomic_read(&urcu_qsbr_gp.futex) != 0;
  if (CMM_LOAD_SHARED(urcu_qsbr_reader.waiting)) {
    _CMM_STORE_SHARED(urcu_qsbr_reader.waiting, 0);
    // The waiter writes the futex, then the mark. Without this fence: we clear the mark of its next
    // round after we have read the futex of this one, and it sleeps.
    cmm_smp_mb();
    wake_waiter(&urcu_qsbr_gp);
  }
  cmm_smp_mb();
  if (is_waiting) qs_qsbr_yield_cold();
}

static void leave_qsbr(void) { report(0); }

QS_UNSANITIZED static void renew_qsbr(void) {
  unsigned long now = CMM_LOAD_SHARED(urcu_qsbr_gp.ctr);
  if (now != urcu_qsbr_reader.ctr) report(now);
}

QS_UNSANITIZED void qs_qsbr_yield_cold(void) {
  yield_to_others(&qs_thread.yields[QS_QSBR], CMM_LOAD_SHARED(urcu_qsbr_gp.ctr));
}
#endif

void qs_qsbr_go_online(void) {
  register_qsbr();
  qs_thread.qsbr_word |= QS_QSBR_ONLINE;
  order_enter(&qsbr_order);
}

void qs_qsbr_go_offline(void) {
  order_leave(&qsbr_order);
  qs_thread.qsbr_word &= ~QS_QSBR_ONLINE;
  leave_qsbr();
  // Once `leave` has run, the thread is registered for one time online alone: see leave.c.
  if (!qs_reader_self.is_ending || !qs_reader_self.registered[QS_QSBR]) return;
  qs_registry_lock();
  unregister_qsbr();
  qs_registry_unlock();
}

void qs_qsbr_quiescent_state_cold(void) {
  order_leave(&qsbr_order);
  renew_qsbr();
  order_enter(&qsbr_order);
}

void qs_qsbr_synchronize(void) {
  order_begin(&qsbr_order);
  // An online caller is offline meanwhile: others that synchronize do not wait for it.
  order_leave(&qsbr_order);
  order_hide_locks();
  urcu_qsbr_synchronize_rcu();
  order_show_locks();
  order_waited(&qsbr_order);
  order_enter(&qsbr_order);
}

void qs_qsbr_unregister(void) {
  if (qs_qsbr_depth() != 0)
    qs_trap("a thread ended inside a QSBR read-side critical section: leave every section first");
  order_leave(&qsbr_order);
  if (qs_registry_is_lost(QS_QSBR))
    qs_registry_remove(QS_QSBR);
  else
    unregister_qsbr();
}
