#define _GNU_SOURCE
#include "qs_bp.h"

#include <limits.h>
#include <pthread.h>

#include "announce.h"
#include "fence.h"
#include "qs_fence.h"
#include "registry.h"

static struct order bp_order;

/// The key of liburcu's own destructor, which ends the thread's section silently; -1 until it is
/// known.
static int liburcus_key = -1;

// The key is the one whose value is the thread's reader structure.
static void find_liburcus_key(const void *reader) {
  for (int key = 0; key < PTHREAD_KEYS_MAX; key++) {
    if (pthread_getspecific((pthread_key_t)key) != reader) continue;
    __atomic_store_n(&liburcus_key, key, __ATOMIC_RELAXED);
    return;
  }
}

// liburcu's destructor runs before `leave` in each round, since its key has the lower number: then
// `leave` could not tell that the thread ended inside a section. So the thread has no value under
// liburcu's key until `leave` gives it back.
static void set_liburcus_value(void *reader) {
  int key = __atomic_load_n(&liburcus_key, __ATOMIC_RELAXED);
  // In the thread itself or in a block that liburcu's registration has allocated: it cannot fail.
  if (key >= 0) pthread_setspecific((pthread_key_t)key, reader);
}

// May run in a handler that has interrupted anything but code with signals blocked: no malloc, and
// no lock that is ever taken with signals unblocked. liburcu's registration keeps to that as well:
// it maps memory, and its key is one of the first 32, unless other code made 32 keys before liburcu
// was loaded.
static void register_bp(void) {
  if (qs_reader_self.registered[QS_BP]) return;
  qs_leave_at_end_from_handler();
  qs_fence_use_membarrier();
  order_hide_locks();
  urcu_bp_register_thread();
  order_show_locks();
  qs_registry_lock();
  // Once more, with signals blocked: as in memb.c.
  if (!qs_reader_self.registered[QS_BP]) qs_registry_add(QS_BP);
  if (__atomic_load_n(&liburcus_key, __ATOMIC_RELAXED) < 0) find_liburcus_key(qs_reader_self.reader->words[QS_BP]);
  set_liburcus_value(NULL);
  qs_registry_unlock();
  qs_thread.bp_registered = !QS_ANNOUNCES;
}

// The section is left out of line.
QS_UNSANITIZED static void announce(void) {
#if defined(QS_ANNOUNCED)
  announce_enter(&urcu_bp_reader->ctr, &bp_order);
  _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr + URCU_BP_GP_COUNT);
#else
  order_enter(&bp_order);
#endif
}

// As in memb.c; liburcu's registration remains, for which liburcu's destructor or nothing has to
// run.
static void enter_at_end(void) {
  qs_registry_lock();
  qs_fence_use_membarrier_locked();
  urcu_bp_read_lock();
  if (!qs_reader_self.registered[QS_BP]) qs_registry_add(QS_BP);
  announce();
  qs_registry_unlock();
}

// All of an enter.
QS_UNSANITIZED void qs_bp_enter_cold(void) {
  if (qs_bp_is_inside()) return urcu_bp_read_lock();
  if (qs_reader_self.is_ending) return enter_at_end();
  register_bp();
  urcu_bp_read_lock();
#if QS_ANNOUNCES
  announce();
#elif !defined(QUIESCENCE_OUT_OF_LINE)
  // Not without membarrier(2): then the fences have to be real, and are in the cold way alone.
  if (urcu_bp_has_sys_membarrier) _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr | QS_BP_READY);
#endif
}

QS_UNSANITIZED void qs_bp_leave_cold(void) {
  if (!qs_bp_is_inside()) qs_unbalanced_cold("Bulletproof");
  bool is_ending = qs_reader_self.is_ending;
  if (is_ending) qs_registry_lock();
#if defined(QS_ANNOUNCED)
  announce_leave(&urcu_bp_reader->ctr, &bp_order);
#else
  order_leave(&bp_order);
#endif
  urcu_bp_read_unlock();
  if (!is_ending) return;
  if (!qs_bp_is_inside() && qs_reader_self.registered[QS_BP]) qs_registry_remove(QS_BP);
  qs_registry_unlock();
}

void qs_bp_synchronize(void) {
  order_begin(&bp_order);
  order_hide_locks();
  urcu_bp_synchronize_rcu();
  order_show_locks();
  order_waited(&bp_order);
}

// liburcu's own destructor follows in this round or the next one. Behind the last round it does
// not: then the thread's structure stays taken in liburcu's memory, and says that no section is
// open.
void qs_bp_unregister(void) {
  if (qs_bp_is_inside())
    qs_trap("a thread ended inside a Bulletproof read-side critical section: leave every section first");
  qs_thread.bp_registered = false;
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Not ready: a late read in another destructor has to register again.
  if (urcu_bp_reader != NULL) _CMM_STORE_SHARED(urcu_bp_reader->ctr, urcu_bp_reader->ctr & ~QS_BP_READY);
#endif
  set_liburcus_value(qs_reader_self.reader->words[QS_BP]);
  qs_registry_remove(QS_BP);
}
