// `Mutex` of Synchronization, for the thread sanitizer; empty in other builds.
//
// An uncontended lock or unlock is an atomic compare-and-exchange that is inlined into its user, so
// the sanitizer sees it. A contended one is a futex call in the library, which the sanitizer does
// not see. Without this file, every contended mutex would cause reports, in this package and in its
// clients.
#include "stand_in.h"

#if defined(QS_STANDS_IN)
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

static void *lock, *try_lock, *unlock;

SWIFT void qs_mutex_lock_slow(uint32_t thread, SELF) STANDS_IN_FOR(LOCK);
SWIFT void qs_mutex_lock_slow(uint32_t thread, SELF) {
  ((SWIFT void (*)(uint32_t, SELF))runtimes_own(LOCK, &lock))(thread, self);
  // The address of the mutex's word: the inlined unlocks have released under it.
  __tsan_acquire(self);
}

SWIFT bool qs_mutex_try_lock_slow(SELF) STANDS_IN_FOR(TRY_LOCK);
SWIFT bool qs_mutex_try_lock_slow(SELF) {
  bool locked = ((SWIFT bool (*)(SELF))runtimes_own(TRY_LOCK, &try_lock))(self);
  if (locked) __tsan_acquire(self);
  return locked;
}

SWIFT void qs_mutex_unlock_slow(SELF) STANDS_IN_FOR(UNLOCK);
SWIFT void qs_mutex_unlock_slow(SELF) {
  // Before the call: the next owner continues while the call is in progress.
  __tsan_release(self);
  ((SWIFT void (*)(SELF))runtimes_own(UNLOCK, &unlock))(self);
}
#endif
