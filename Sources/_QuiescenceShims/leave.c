// The end of a thread that has registered with a flavor or has retired.
//
// Only the destructors of pthread keys run late enough: the destructors of other keys may read.
// glibc runs them in up to four rounds, in each round in the order of the keys' numbers, and goes
// round again while a destructor sets a key. A value that is set after its key's turn in the last
// round is lost, with no further call. Two rules close that gap:
//
// 1. Once `leave` has run, a thread registers with liburcu when it enters a section, and is taken
//    off when it leaves the section: correct whether or not another call follows. It costs two
//    locks a section, in destructors only.
// 2. A thread whose first read of all is in a destructor of the last round needs `leave` to run
//    behind that destructor. So the keys have high numbers: `first_block_key` the highest of the
//    first 32, `high_key` one that a program with hundreds of keys does not reach.
//
// Why two keys: glibc keeps a thread's values of the first 32 keys in the thread itself, and
// allocates for others. A signal handler must not allocate, since it may have interrupted malloc.
// So a thread that registers with liburcu-bp alone sets the first key only. When the destructor of
// another program's key beyond the first 32 is the first to read under liburcu-bp, in the last
// round, then `leave` does not run: liburcu-bp's memory outlives its threads, and so does this
// library's list (`remove_the_dead`).
#define _GNU_SOURCE
#include <pthread.h>

#include "qs_thread.h"
#include "registry.h"

enum {
  /// glibc's PTHREAD_KEY_2NDLEVEL_SIZE.
  FIRST_BLOCK = 32,
  /// Not all 1024: taking n keys is quadratic in n, and another thread that makes a key meanwhile
  /// has to find one.
  HIGH = 256,
};

static pthread_key_t first_block_key, high_key;

// Runs when a registered thread ends, while its thread-local memory still stands. A registry that
// kept the dead thread's node would make the next grace period walk freed memory and hang.
static void leave(void *unused) {
  (void)unused;
  qs_retire_queues_end();
  bool *ours = qs_reader_self.registered;
  qs_registry_lock();
  qs_reader_self.is_ending = true;
  if (ours[QS_MEMB]) qs_memb_unregister();
  if (ours[QS_MB]) qs_mb_unregister();
  if (ours[QS_QSBR]) qs_qsbr_unregister();
  if (ours[QS_BP]) qs_bp_unregister();
  qs_registry_unlock();
}

// The highest free number below `bound`, or else the lowest free one. pthread_key_create gives the
// lowest free number: so takes them all, and gives all but one back. Another thread that makes a
// key meanwhile gets a higher number than usual.
static pthread_key_t make_key(pthread_key_t bound) {
  pthread_key_t keys[HIGH];
  int count = 0;
  while (count < HIGH && pthread_key_create(&keys[count], leave) == 0)
    if (keys[count++] + 1 >= bound) break;
  // The last one is beyond the bound when the bound itself was taken.
  int chosen = count - 1;
  if (chosen > 0 && keys[chosen] >= bound) chosen--;
  for (int i = 0; i < count; i++)
    if (i != chosen) pthread_key_delete(keys[i]);
  if (chosen < 0) qs_trap("no pthread key left for the thread registry");
  return keys[chosen];
}

// Before other constructors, which may read already; and before the first read, which may be in a
// signal handler.
__attribute__((constructor(101))) static void make_keys(void) {
  first_block_key = make_key(FIRST_BLOCK);
  high_key = make_key(HIGH);
}

// A value other than NULL makes glibc run the destructor.
static void set(pthread_key_t key) {
  if (pthread_setspecific(key, &qs_thread) != 0) qs_trap("no memory to register a thread as a reader");
}

// glibc's answer is EINVAL for a number that no key has. The value stays as it is: none.
static bool exists(pthread_key_t key) {
  return pthread_getspecific(key) != NULL || pthread_setspecific(key, NULL) == 0;
}

void qs_leave_at_end_from_handler(void) { set(first_block_key); }

void qs_leave_at_end(void) {
  set(first_block_key);
  // The second key allocates, so only where there are destructors that the first one does not run
  // behind. Keys get the lowest free number, so where there are any beyond the first block, some
  // are in the second.
  for (pthread_key_t key = FIRST_BLOCK; key < 2 * FIRST_BLOCK; key++)
    if (exists(key)) return set(high_key);
}
