// Readers: how they register and leave, what the read side does out of line, and waiting for them.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "order.h"
#include "qs_bp.h"
#include "qs_mb.h"
#include "qs_memb.h"
#include "qs_qsbr.h"
#include "registry.h"

__thread struct qs_thread qs_thread;

static struct order memb_order, mb_order, bp_order, qsbr_order;

static pthread_key_t leave_key;
static pthread_once_t leave_key_once = PTHREAD_ONCE_INIT;

static _Atomic(void (*)(void *)) end_retire_queue;

static void end_queue(void **place) {
  void *queue = *place;
  if (queue == NULL) return;
  // First: a late retire in another destructor makes a new queue.
  *place = NULL;
  atomic_load_explicit(&end_retire_queue, memory_order_acquire)(queue);
}

static void end_queues(void) {
  for (uint32_t place = 0; place < QS_FLAVORS; place++) end_queue(&qs_thread.retire_queues[place]);
  for (uint32_t place = 0; place < qs_thread.more_capacity; place++) end_queue(&qs_thread.more_queues[place]);
  void **more = qs_thread.more_queues;
  qs_thread.more_capacity = 0;
  qs_thread.more_queues = NULL;
  free(more);
}

// Runs when a registered thread ends, while its thread-local memory still stands. A registry that
// kept the dead thread's node would make the next grace period walk freed memory and hang.
static void leave(void *unused) {
  (void)unused;
  end_queues();
  bool *ours = reader_self.registered;
  if (ours[QS_MEMB] && qs_memb_is_inside())
    trap("a thread ended inside a Memb read-side critical section: leave every section first");
  if (ours[QS_MB] && qs_mb_is_inside())
    trap("a thread ended inside an MB read-side critical section: leave every section first");
  if (ours[QS_QSBR] && qs_qsbr_depth() != 0)
    trap("a thread ended inside a QSBR read-side critical section: leave every section first");
  registry_lock();
  if (ours[QS_MEMB]) {
    qs_thread.memb_registered = false;
#if !defined(QUIESCENCE_OUT_OF_LINE)
    // Not ready: a late read in another destructor has to register again.
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, 0);
#endif
    urcu_memb_unregister_thread();
    registry_remove(QS_MEMB);
  }
  if (ours[QS_MB]) {
    qs_thread.mb_registered = false;
    urcu_mb_unregister_thread();
    registry_remove(QS_MB);
  }
  if (ours[QS_QSBR]) {
    order_leave(&qsbr_order);
    urcu_qsbr_unregister_thread();
    registry_remove(QS_QSBR);
  }
  // liburcu-bp leaves by itself; it was checked before, or read again after that.
  if (ours[QS_BP]) {
    qs_thread.bp_registered = false;
    registry_remove(QS_BP);
  }
  registry_unlock();
}

static void make_leave_key(void) {
  if (pthread_key_create(&leave_key, leave) != 0)
    trap("no pthread key left for the thread registry");
}

// A value other than NULL makes glibc run the destructor. Setting it again inside another key's
// destructor makes it run again: a late read registers again and leaves again.
static void leave_at_end(void) {
  pthread_once(&leave_key_once, make_leave_key);
  if (pthread_setspecific(leave_key, &qs_thread) != 0)
    trap("no memory to register a thread as a reader");
}

void qs_thread_set_retire_queue(uint32_t place, void *queue, void (*end)(void *queue)) {
  atomic_store_explicit(&end_retire_queue, end, memory_order_release);
  leave_at_end();
  if (place < QS_FLAVORS) {
    qs_thread.retire_queues[place] = queue;
    return;
  }
  uint32_t index = place - QS_FLAVORS, capacity = qs_thread.more_capacity;
  if (index >= capacity) {
    uint32_t wanted = index + 1 > 2 * capacity ? index + 1 : 2 * capacity;
    void **more = realloc(qs_thread.more_queues, wanted * sizeof *more);
    if (more == NULL) trap("no memory for a thread's queue of retired values");
    for (uint32_t i = capacity; i < wanted; i++) more[i] = NULL;
    qs_thread.more_queues = more;
    qs_thread.more_capacity = wanted;
  }
  qs_thread.more_queues[index] = queue;
}

// Whether the readers' words tell the depth of their sections, and can carry QS_ANNOUNCED.
#if QS_ANNOUNCES && defined(QS_ANNOUNCED)
#define ANNOUNCES_DEPTH 1

// The section was opened at depth 1. The inline enter that follows counts on from what this makes of it.
QS_UNSANITIZED static void announce_enter(unsigned long *word, struct order *order) {
  _CMM_STORE_SHARED(*word, *word - URCU_GP_COUNT + QS_ANNOUNCED);
  order_enter(order);
}

// liburcu's unlock, which follows, ends the section when it finds depth 1. Nested leaves end nothing.
QS_UNSANITIZED static void announce_leave(unsigned long *word, struct order *order) {
  if ((*word & URCU_GP_CTR_NEST_MASK) != QS_ANNOUNCED + URCU_GP_COUNT) return;
  order_leave(order);
  _CMM_STORE_SHARED(*word, *word - QS_ANNOUNCED);
}
#endif

static void register_memb(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code that uses liburcu directly: registering twice aborts, and leaving is
  // theirs. Ask again at the next read, since they may leave at any time.
  if (urcu_memb_reader.registered) return;
#endif
  if (reader_self.registered[QS_MEMB]) return;
  leave_at_end();
  registry_lock();
  // Once more, with signals blocked: a handler that came after the look above may have read, and registered the thread.
  if (!reader_self.registered[QS_MEMB]) {
    urcu_memb_register_thread();
    registry_add(QS_MEMB);
  }
  registry_unlock();
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
  // Not when it was registered by other code, which may leave at any time: ask again at the next read. And not when
  // the fences have to be real.
  if (reader_self.registered[QS_MEMB] && urcu_memb_has_sys_membarrier)
    _CMM_STORE_SHARED(urcu_memb_reader.ctr, urcu_memb_reader.ctr | QS_MEMB_READY);
#endif
}
#endif

void qs_unbalanced_cold(const char *flavor) {
  char line[160];
  snprintf(line, sizeof line, "%s.unsafeLeave() on a thread that is in no %s read-side critical section", flavor, flavor);
  trap(line);
}

void qs_memb_leave_cold(void) {
  if (!qs_memb_is_inside()) qs_unbalanced_cold("Memb");
#if defined(ANNOUNCES_DEPTH)
  announce_leave(&urcu_memb_reader.ctr, &memb_order);
#else
  order_leave(&memb_order);
#endif
  urcu_memb_read_unlock();
}

void qs_memb_synchronize(void) {
  order_begin(&memb_order);
  order_hide_locks();
  urcu_memb_synchronize_rcu();
  order_show_locks();
  order_waited(&memb_order);
}

#if !defined(QUIESCENCE_OUT_OF_LINE)
void qs_memb_wake_cold(void) { urcu_common_wake_up_gp(&urcu_memb_gp); }
#endif

static void register_mb(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code; see above.
  if (urcu_mb_reader.registered) return;
#endif
  if (reader_self.registered[QS_MB]) return;
  leave_at_end();
  registry_lock();
  // Once more; see above.
  if (!reader_self.registered[QS_MB]) {
    urcu_mb_register_thread();
    registry_add(QS_MB);
  }
  registry_unlock();
  qs_thread.mb_registered = !QS_ANNOUNCES;
}

void qs_mb_enter_cold(void) {
  register_mb();
#if defined(ANNOUNCES_DEPTH)
  if (urcu_mb_read_ongoing()) return;
  urcu_mb_read_lock();
  announce_enter(&urcu_mb_reader.ctr, &mb_order);
#else
  order_enter(&mb_order);
#endif
}

void qs_mb_leave_cold(void) {
  if (!qs_mb_is_inside()) qs_unbalanced_cold("MB");
#if defined(ANNOUNCES_DEPTH)
  announce_leave(&urcu_mb_reader.ctr, &mb_order);
#else
  order_leave(&mb_order);
#endif
  urcu_mb_read_unlock();
}

void qs_mb_synchronize(void) {
  order_begin(&mb_order);
  order_hide_locks();
  urcu_mb_synchronize_rcu();
  order_show_locks();
  order_waited(&mb_order);
}

// In glibc since 2.18. Weak: without it only the check is missing.
extern int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *image)
    __attribute__((weak));
extern void *__dso_handle;

static void check_bp(void *unused) {
  (void)unused;
  if (qs_bp_is_inside())
    trap("a thread ended inside a Bulletproof read-side critical section: leave every section first");
}

static void register_bp(void) {
  if (reader_self.registered[QS_BP]) return;
  leave_at_end();
  // Not the key above: liburcu's own key destructor leaves the section silently, and may run first. These
  // functions run before every key destructor.
  if (__cxa_thread_atexit_impl != NULL) __cxa_thread_atexit_impl(check_bp, NULL, &__dso_handle);
  registry_lock();
  // Once more; see above.
  if (!reader_self.registered[QS_BP]) registry_add(QS_BP);
  registry_unlock();
  qs_thread.bp_registered = !QS_ANNOUNCES;
}

QS_UNSANITIZED void qs_bp_enter_cold(void) {
  register_bp();
#if defined(ANNOUNCES_DEPTH)
  if (qs_bp_is_inside()) return;
  // The first of a thread registers.
  order_hide_locks();
  urcu_bp_read_lock();
  order_show_locks();
  announce_enter(&urcu_bp_reader->ctr, &bp_order);
#else
  order_enter(&bp_order);
#endif
}

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

static void register_qsbr(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code; see above.
  if (urcu_qsbr_reader.registered) return urcu_qsbr_thread_online();
#endif
  if (reader_self.registered[QS_QSBR]) return urcu_qsbr_thread_online();
  leave_at_end();
  registry_lock();
  // Registers it online.
  urcu_qsbr_register_thread();
  registry_add(QS_QSBR);
  registry_unlock();
}

void qs_qsbr_go_online(void) {
  register_qsbr();
  qs_thread.qsbr_word |= QS_QSBR_ONLINE;
  order_enter(&qsbr_order);
}

void qs_qsbr_go_offline(void) {
  order_leave(&qsbr_order);
  qs_thread.qsbr_word &= ~QS_QSBR_ONLINE;
  urcu_qsbr_thread_offline();
}

void qs_qsbr_quiescent_state_cold(void) {
  order_leave(&qsbr_order);
  urcu_qsbr_quiescent_state();
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
