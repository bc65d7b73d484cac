#define _GNU_SOURCE
#include "qs_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qs_bp.h"
#include "qs_futex.h"
#include "qs_mb.h"
#include "qs_memb.h"
#include "qs_processor.h"
#include "qs_qsbr.h"

__thread struct qs_thread qs_thread;

static pthread_key_t leave_key;
static pthread_once_t leave_key_once = PTHREAD_ONCE_INIT;

static void trap(const char *line) {
  fprintf(stderr, "Fatal error: %s\n", line);
  abort();
}

static _Atomic(void (*)(void *)) end_retire_queue;

// Runs when a registered thread ends, while its thread-local memory still stands. A registry that
// kept the dead thread's node would make the next grace period walk freed memory and hang.
static void leave(void *unused) {
  (void)unused;
  for (uint32_t index = 0; index < QS_RETIRE_QUEUES; index++) {
    void *queue = qs_thread.retire_queues[index];
    if (queue == NULL) continue;
    // First: a late retire in another destructor makes a new queue.
    qs_thread.retire_queues[index] = NULL;
    atomic_load_explicit(&end_retire_queue, memory_order_acquire)(queue);
  }
  if (qs_thread.memb_registered) {
    if (qs_memb_is_inside())
      trap("a thread ended inside a Memb read-side critical section: leave every section first");
    qs_thread.memb_registered = false;
    urcu_memb_unregister_thread();
  }
  if (qs_thread.mb_registered) {
    if (qs_mb_is_inside())
      trap("a thread ended inside an MB read-side critical section: leave every section first");
    qs_thread.mb_registered = false;
    urcu_mb_unregister_thread();
  }
  if (qs_thread.qsbr_registered) {
    if (qs_thread.qsbr_depth != 0)
      trap("a thread ended inside a QSBR read-side critical section: leave every section first");
    qs_thread.qsbr_registered = false;
    urcu_qsbr_unregister_thread();
  }
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

void qs_thread_set_retire_queue(uint32_t index, void *queue, void (*end)(void *queue)) {
  atomic_store_explicit(&end_retire_queue, end, memory_order_release);
  leave_at_end();
  qs_thread.retire_queues[index] = queue;
}

void qs_memb_register_cold(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code that uses liburcu directly: registering twice aborts, and leaving is
  // theirs. Ask again at the next read, since they may leave at any time.
  if (urcu_memb_reader.registered) return;
#endif
  leave_at_end();
  urcu_memb_register_thread();
  qs_thread.memb_registered = true;
}

void qs_mb_register_cold(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code; see above.
  if (urcu_mb_reader.registered) return;
#endif
  leave_at_end();
  urcu_mb_register_thread();
  qs_thread.mb_registered = true;
}

// In glibc since 2.18. Weak: without it only the check is missing.
extern int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *image)
    __attribute__((weak));
extern void *__dso_handle;

static void check_bp(void *unused) {
  (void)unused;
  // A late read registers the watch again.
  qs_thread.bp_registered = false;
  if (qs_bp_is_inside())
    trap("a thread ended inside a Bulletproof read-side critical section: leave every section first");
}

void qs_bp_register_cold(void) {
  // Not the key above: liburcu's own key destructor leaves the section silently, and may run first. These
  // functions run before every key destructor.
  if (__cxa_thread_atexit_impl != NULL) __cxa_thread_atexit_impl(check_bp, NULL, &__dso_handle);
  qs_thread.bp_registered = true;
}

void qs_qsbr_register_cold(void) {
#if !defined(QUIESCENCE_OUT_OF_LINE)
  // Registered by other code; see above.
  if (urcu_qsbr_reader.registered) {
    urcu_qsbr_thread_online();
    return;
  }
#endif
  leave_at_end();
  urcu_qsbr_register_thread();
  qs_thread.qsbr_registered = true;
}

#if !defined(QUIESCENCE_OUT_OF_LINE)
void qs_memb_wake_cold(void) { urcu_common_wake_up_gp(&urcu_memb_gp); }
#endif

struct start {
  void (*body)(void *);
  void *argument;
  char name[16];
};

static void *run(void *opaque) {
  struct start start = *(struct start *)opaque;
  free(opaque);
  pthread_setname_np(pthread_self(), start.name);
  start.body(start.argument);
  return NULL;
}

int qs_thread_start(const char *name, void (*body)(void *), void *argument) {
  struct start *start = malloc(sizeof *start);
  if (start == NULL) return ENOMEM;
  start->body = body;
  start->argument = argument;
  snprintf(start->name, sizeof start->name, "%s", name);

  // Blocked before the thread exists, so that it never takes a signal meant for the host's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, run, start);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) free(start);
  return error;
}

pid_t qs_thread_id(void) { return (pid_t)syscall(SYS_gettid); }
