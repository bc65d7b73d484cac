// Users that a module counts itself. `quiescent_module.h` includes this file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An active bit and a count under one lock. Use `static struct quiescent_users users =
/// QUIESCENT_USERS;` and, as `cleanup`, `return quiescent_users_close(&users, force);`. After
/// Daniel Phillips, 18 July 2002.
struct quiescent_users {
  char lock;
  char closed;
  long count;
};

#define QUIESCENT_USERS {0, 0, 0}

static inline void quiescent_users_lock(struct quiescent_users *users) {
  while (__atomic_test_and_set(&users->lock, __ATOMIC_ACQUIRE)) {
  }
}

static inline void quiescent_users_unlock(struct quiescent_users *users) {
  __atomic_clear(&users->lock, __ATOMIC_RELEASE);
}

/// Counts a user if the module is still active. Returns 0 or -1. Call this inside a hook, or while
/// the module is held otherwise.
static inline int quiescent_users_get(struct quiescent_users *users) {
  quiescent_users_lock(users);
  int closed = users->closed;
  if (!closed) users->count += 1;
  quiescent_users_unlock(users);
  return closed ? -1 : 0;
}

/// Removes a user. As for `release`: outside a hook, this must not be the last thing that the
/// module's code does.
static inline void quiescent_users_put(struct quiescent_users *users) {
  quiescent_users_lock(users);
  users->count -= 1;
  quiescent_users_unlock(users);
}

/// Returns 0 if there are no users, and refuses users from now on; returns -16 (EBUSY) if there are
/// users. With `force`, users are refused from now on in both cases.
static inline int quiescent_users_close(struct quiescent_users *users, int force) {
  quiescent_users_lock(users);
  int busy = users->count != 0;
  // Test and change under one acquisition of the lock: otherwise a user that came in between would
  // lose its module.
  if (!busy || force) users->closed = 1;
  quiescent_users_unlock(users);
  return busy ? -16 : 0;
}

#ifdef __cplusplus
}
#endif
