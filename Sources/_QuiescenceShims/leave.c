// The end of a thread that has registered with a flavor or has retired.
#define _GNU_SOURCE
#include <pthread.h>

#include "qs_thread.h"
#include "registry.h"

static pthread_key_t leave_key;
static pthread_once_t leave_key_once = PTHREAD_ONCE_INIT;

// Runs when a registered thread ends, while its thread-local memory still stands. A registry that
// kept the dead thread's node would make the next grace period walk freed memory and hang.
static void leave(void *unused) {
  (void)unused;
  qs_retire_queues_end();
  bool *ours = qs_reader_self.registered;
  qs_registry_lock();
  if (ours[QS_MEMB]) qs_memb_unregister();
  if (ours[QS_MB]) qs_mb_unregister();
  if (ours[QS_QSBR]) qs_qsbr_unregister();
  if (ours[QS_BP]) qs_bp_unregister();
  qs_registry_unlock();
}

static void make_leave_key(void) {
  if (pthread_key_create(&leave_key, leave) != 0)
    qs_trap("no pthread key left for the thread registry");
}

// A value other than NULL makes glibc run the destructor. Setting it again inside another key's
// destructor makes it run again: a late read registers again and leaves again.
void qs_leave_at_end(void) {
  pthread_once(&leave_key_once, make_leave_key);
  if (pthread_setspecific(leave_key, &qs_thread) != 0)
    qs_trap("no memory to register a thread as a reader");
}
