#define _GNU_SOURCE
#include "qs_mb.h"

#include "announce.h"
#include "registry.h"
#include "wake.h"

static struct order mb_order;

// As in memb.c.
static bool is_registered(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  if (urcu_mb_reader.registered) return true;
#endif
  return qs_reader_self.registered[QS_MB];
}

static void register_locked(void) {
  if (is_registered()) return;
  if (!qs_registry_is_lost(QS_MB)) urcu_mb_register_thread();
  qs_registry_add(QS_MB);
}

static void register_mb(void) {
  if (is_registered()) return;
  qs_leave_at_end();
  qs_registry_lock();
  register_locked();
  qs_registry_unlock();
  if (qs_reader_self.registered[QS_MB]) qs_thread.mb_registered = !QS_ANNOUNCES;
}

static void unregister_mb(void) {
  if (!qs_registry_is_lost(QS_MB)) urcu_mb_unregister_thread();
  qs_registry_remove(QS_MB);
}

// The section is left out of line.
QS_UNSANITIZED static void announce(void) {
#if defined(QS_ANNOUNCED)
  announce_enter(&urcu_mb_reader.ctr, &mb_order);
  _CMM_STORE_SHARED(urcu_mb_reader.ctr, urcu_mb_reader.ctr + URCU_GP_COUNT);
#else
  order_enter(&mb_order);
#endif
}

// As in memb.c.
static void enter_at_end(void) {
  qs_registry_lock();
  register_locked();
  urcu_mb_read_lock();
  announce();
  qs_registry_unlock();
}

// All of an enter.
QS_UNSANITIZED void qs_mb_enter_cold(void) {
  if (qs_mb_is_inside()) return urcu_mb_read_lock();
  if (qs_reader_self.is_ending) return enter_at_end();
  register_mb();
  urcu_mb_read_lock();
#if QS_ANNOUNCES
  announce();
#endif
}

#if defined(QUIESCENCE_OUT_OF_LINE)
static void leave(void) { urcu_mb_read_unlock(); }
#else
/// Even, and another one after each grace period that starts through us.
static unsigned long mb_grace_period;

QS_UNSANITIZED void qs_mb_wake_cold(unsigned long word) {
  leave_while_waiting(&urcu_mb_gp, word, &qs_thread.yields[QS_MB], CMM_LOAD_SHARED(mb_grace_period));
}

QS_UNSANITIZED static void leave(void) {
  unsigned long word = urcu_mb_reader.ctr;
  bool is_outermost = (word & URCU_GP_CTR_NEST_MASK) == URCU_GP_COUNT;
  cmm_smp_mb();
  _CMM_STORE_SHARED(urcu_mb_reader.ctr, word - URCU_GP_COUNT);
  if (!is_outermost) return;
  cmm_smp_mb();
  if (uatomic_read(&urcu_mb_gp.futex) != 0) qs_mb_wake_cold(word);
}
#endif

QS_UNSANITIZED void qs_mb_leave_cold(void) {
  if (!qs_mb_is_inside()) qs_unbalanced_cold("MB");
  bool is_ending = qs_reader_self.is_ending;
  if (is_ending) qs_registry_lock();
#if defined(QS_ANNOUNCED)
  announce_leave(&urcu_mb_reader.ctr, &mb_order);
#else
  order_leave(&mb_order);
#endif
  if (!is_ending) return leave();
  // Not `leave`, which yields: other threads wait for the registry's lock.
  urcu_mb_read_unlock();
  if (!qs_mb_is_inside() && qs_reader_self.registered[QS_MB]) unregister_mb();
  qs_registry_unlock();
}

void qs_mb_synchronize(void) {
  order_begin(&mb_order);
  order_hide_locks();
#if !defined(QUIESCENCE_OUT_OF_LINE)
  __atomic_fetch_add(&mb_grace_period, 2, __ATOMIC_RELAXED);
#endif
  urcu_mb_synchronize_rcu();
  order_show_locks();
  order_waited(&mb_order);
}

void qs_mb_unregister(void) {
  if (qs_mb_is_inside())
    qs_trap("a thread ended inside an MB read-side critical section: leave every section first");
  qs_thread.mb_registered = false;
  unregister_mb();
}
