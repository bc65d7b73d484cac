// `Mutex` of Synchronization, for the thread sanitizer; nothing in other builds.
//
// A lock or unlock that meets nobody is an atomic compare-and-exchange, compiled into its user: the sanitizer sees it. One
// that meets somebody is a futex call in the library. Every mutex that two threads ever wait for would give reports, in
// this package and in whoever links it.
#include "stand_in.h"

#if defined(QS_STANDS_IN)
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

static void *lock, *try_lock, *unlock;

SWIFT void qs_mutex_lock_slow(uint32_t thread, SELF) STANDS_IN_FOR(LOCK);
SWIFT void qs_mutex_lock_slow(uint32_t thread, SELF) {
  ((SWIFT void (*)(uint32_t, SELF))runtimes_own(LOCK, &lock))(thread, self);
  // The address of the mutex's word, under which the sanitizer keeps what the compiled-in unlocks released.
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
  // Before: the next owner goes on while the call is under way.
  __tsan_release(self);
  ((SWIFT void (*)(SELF))runtimes_own(UNLOCK, &unlock))(self);
}
#endif
