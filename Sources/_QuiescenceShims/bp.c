#define _GNU_SOURCE
#include "qs_bp.h"

#include "announce.h"
#include "registry.h"

static struct order bp_order;

// In glibc since 2.18. Weak: without it only the check is missing.
extern int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *image)
    __attribute__((weak));
extern void *__dso_handle;

static void check_bp(void *unused) {
  (void)unused;
  if (qs_bp_is_inside())
    qs_trap("a thread ended inside a Bulletproof read-side critical section: leave every section first");
}

static void register_bp(void) {
  if (qs_reader_self.registered[QS_BP]) return;
  qs_leave_at_end();
  // Not the key above: liburcu's own key destructor leaves the section silently, and may run first. These
  // functions run before every key destructor.
  if (__cxa_thread_atexit_impl != NULL) __cxa_thread_atexit_impl(check_bp, NULL, &__dso_handle);
  qs_registry_lock();
  // Once more; see above.
  if (!qs_reader_self.registered[QS_BP]) qs_registry_add(QS_BP);
  qs_registry_unlock();
  qs_thread.bp_registered = !QS_ANNOUNCES;
}

#if defined(QUIESCENCE_OUT_OF_LINE)
void qs_bp_enter_cold(void) {
  register_bp();
  order_enter(&bp_order);
}
#else
// All of an enter from outside.
QS_UNSANITIZED void qs_bp_enter_cold(void) {
  register_bp();
  // The first of a thread registers.
  order_hide_locks();
  urcu_bp_read_lock();
  order_show_locks();
#if defined(ANNOUNCES_DEPTH)
  announce_enter(&urcu_bp_reader->ctr, &bp_order);
  _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr + URCU_BP_GP_COUNT);
#else
  // Not without membarrier(2): then the fences have to be real, and are in the cold way alone.
  if (urcu_bp_has_sys_membarrier) _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr | QS_BP_READY);
#endif
}
#endif

QS_UNSANITIZED void qs_bp_leave_cold(void) {
  if (!qs_bp_is_inside()) qs_unbalanced_cold("Bulletproof");
#if defined(ANNOUNCES_DEPTH)
  announce_leave(&urcu_bp_reader->ctr, &bp_order);
#else
  order_leave(&bp_order);
#endif
  urcu_bp_read_unlock();
}

void qs_bp_synchronize(void) {
  order_begin(&bp_order);
  order_hide_locks();
  urcu_bp_synchronize_rcu();
  order_show_locks();
  order_waited(&bp_order);
}

// liburcu-bp unregisters the thread by itself; the check above ran before, or the thread read again after that.
QS_UNSANITIZED void qs_bp_unregister(void) {
  qs_thread.bp_registered = false;
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Not ready: a late read in another destructor has to be watched again.
  if (urcu_bp_reader != NULL) _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr & ~QS_BP_READY);
#endif
  qs_registry_remove(QS_BP);
}
