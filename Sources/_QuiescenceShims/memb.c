#define _GNU_SOURCE
#include "qs_memb.h"

#include "announce.h"
#include "registry.h"
#include "wake.h"

static struct order memb_order;

static void register_memb(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code that uses liburcu directly: registering twice aborts, and leaving is
  // theirs. Ask again at the next read, since they may leave at any time.
  if (urcu_memb_reader.registered) return;
#endif
  if (qs_reader_self.registered[QS_MEMB]) return;
  qs_leave_at_end();
  qs_registry_lock();
  // Once more, with signals blocked: a handler that came after the look above may have read, and
  // registered the thread.
  if (!qs_reader_self.registered[QS_MEMB]) {
    urcu_memb_register_thread();
    qs_registry_add(QS_MEMB);
  }
  qs_registry_unlock();
  qs_thread.memb_registered = !QS_ANNOUNCES;
}

#if defined(QUIESCENCE_OUT_OF_LINE)
void qs_memb_enter_cold(void) {
  register_memb();
  order_enter(&memb_order);
}
#else
// All of an enter from outside.
QS_UNSANITIZED void qs_memb_enter_cold(void) {
  register_memb();
  urcu_memb_read_lock();
#if defined(ANNOUNCES_DEPTH)
  announce_enter(&urcu_memb_reader.ctr, &memb_order);
  _CMM_STORE_SHARED(urcu_memb_reader.ctr, urcu_memb_reader.ctr + URCU_GP_COUNT);
#else
  // Not when it was registered by other code, which may leave at any time: ask again at the next
  // read. And not when the fences have to be real.
  if (qs_reader_self.registered[QS_MEMB] && urcu_memb_has_sys_membarrier)
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, urcu_memb_reader.ctr | QS_MEMB_READY);
#endif
}
#endif

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
#if defined(ANNOUNCES_DEPTH)
  announce_leave(&urcu_memb_reader.ctr, &memb_order);
#else
  order_leave(&memb_order);
#endif
  leave();
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
  urcu_memb_unregister_thread();
  qs_registry_remove(QS_MEMB);
}
