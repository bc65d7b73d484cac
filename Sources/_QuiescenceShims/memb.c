#define _GNU_SOURCE
#include "qs_memb.h"

#include "announce.h"
#include "fence.h"
#include "registry.h"
#include "wake.h"

static struct order memb_order;

// By this library; or by other code that uses liburcu directly: registering twice aborts, and other
// code takes the thread off itself. Ask again at the next read, since it may do so at any time.
static bool is_registered(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  if (urcu_memb_reader.registered) return true;
#endif
  return qs_reader_self.registered[QS_MEMB];
}

// Under the registry lock, and so with signals blocked: a handler that came after an earlier look
// may have read, and registered the thread.
static void register_locked(void) {
  if (is_registered()) return;
  qs_fence_use_membarrier_locked();
  if (!qs_registry_is_lost(QS_MEMB)) urcu_memb_register_thread();
  qs_registry_add(QS_MEMB);
}

static void register_memb(void) {
  if (is_registered()) return;
  qs_leave_at_end();
  qs_registry_lock();
  register_locked();
  qs_registry_unlock();
  if (qs_reader_self.registered[QS_MEMB]) qs_thread.memb_registered = !QS_ANNOUNCES;
}

static void unregister_memb(void) {
  if (!qs_registry_is_lost(QS_MEMB)) urcu_memb_unregister_thread();
  qs_registry_remove(QS_MEMB);
}

// The section is left out of line.
QS_UNSANITIZED static void announce(void) {
#if defined(QS_ANNOUNCED)
  announce_enter(&urcu_memb_reader.ctr, &memb_order);
  _CMM_STORE_SHARED(urcu_memb_reader.ctr, urcu_memb_reader.ctr + URCU_GP_COUNT);
#else
  order_enter(&memb_order);
#endif
}

// Registers for one section. With signals blocked from here to the lock: the section of a handler
// in between would take the thread off, and this section would be invisible to grace periods.
static void enter_at_end(void) {
  qs_registry_lock();
  register_locked();
  urcu_memb_read_lock();
  announce();
  qs_registry_unlock();
}

// All of an enter.
QS_UNSANITIZED void qs_memb_enter_cold(void) {
  if (qs_memb_is_inside()) return urcu_memb_read_lock();
  if (qs_reader_self.is_ending) return enter_at_end();
  register_memb();
  urcu_memb_read_lock();
#if QS_ANNOUNCES
  announce();
#elif !defined(QUIESCENCE_OUT_OF_LINE)
  // Not when it was registered by other code, which may leave at any time: ask again at the next
  // read. And not when the fences have to be real.
  if (qs_reader_self.registered[QS_MEMB] && urcu_memb_has_sys_membarrier)
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, urcu_memb_reader.ctr | QS_MEMB_READY);
#endif
}

#if defined(QUIESCENCE_OUT_OF_LINE)
static void leave(void) { urcu_memb_read_unlock(); }
#else
// All of a leave, with the fences that are real where the kernel has no membarrier.
QS_UNSANITIZED static void leave(void) {
  unsigned long word = urcu_memb_reader.ctr;
  bool is_outermost = (word & URCU_GP_CTR_NEST_MASK) == URCU_GP_COUNT;
  urcu_memb_smp_mb_slave();
  _CMM_STORE_SHARED(urcu_memb_reader.ctr, word - URCU_GP_COUNT);
  if (!is_outermost) return;
  urcu_memb_smp_mb_slave();
  if (uatomic_read(&urcu_memb_gp.futex) != 0) qs_memb_wake_cold(word);
}
#endif

QS_UNSANITIZED void qs_memb_leave_cold(void) {
  if (!qs_memb_is_inside()) qs_unbalanced_cold("Memb");
  // Never changes inside a section: a thread that ends in one traps.
  bool is_ending = qs_reader_self.is_ending;
  if (is_ending) qs_registry_lock();
#if defined(QS_ANNOUNCED)
  announce_leave(&urcu_memb_reader.ctr, &memb_order);
#else
  order_leave(&memb_order);
#endif
  if (!is_ending) return leave();
  // Not `leave`, which yields: other threads wait for the registry's lock.
  urcu_memb_read_unlock();
  if (!qs_memb_is_inside() && qs_reader_self.registered[QS_MEMB]) unregister_memb();
  qs_registry_unlock();
}

void qs_memb_synchronize(void) {
  order_begin(&memb_order);
  order_hide_locks();
#if !defined(QUIESCENCE_OUT_OF_LINE)
  __atomic_fetch_add(&qs_memb_grace_period, 2, __ATOMIC_RELAXED);
#endif
  urcu_memb_synchronize_rcu();
  order_show_locks();
  order_waited(&memb_order);
}

#if !defined(QUIESCENCE_OUT_OF_LINE)
unsigned long qs_memb_grace_period;

QS_UNSANITIZED void qs_memb_wake_cold(unsigned long word) {
  leave_while_waiting(&urcu_memb_gp, word, &qs_thread.yields[QS_MEMB], CMM_LOAD_SHARED(qs_memb_grace_period));
}
#endif

void qs_memb_unregister(void) {
  if (qs_memb_is_inside())
    qs_trap("a thread ended inside a Memb read-side critical section: leave every section first");
  qs_thread.memb_registered = false;
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Not ready: a late read in another destructor has to register again.
  _CMM_STORE_SHARED(urcu_memb_reader.ctr, 0);
#endif
  unregister_memb();
}
