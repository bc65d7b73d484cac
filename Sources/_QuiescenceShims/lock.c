#define _GNU_SOURCE
#include "qs_lock.h"

#include <pthread.h>
#include <stdlib.h>

#include "trap.h"

enum { LINE = 64 };

struct qs_lock {
  pthread_mutex_t mutex;
  uintptr_t word;
} __attribute__((aligned(LINE)));

_Static_assert(sizeof(struct qs_lock) == LINE, "a lock is a cache line");

struct qs_lock *qs_lock_create(void) {
  struct qs_lock *lock = aligned_alloc(LINE, sizeof *lock);
  if (lock == NULL) qs_trap("no memory for a lock");
  pthread_mutex_init(&lock->mutex, NULL);
  lock->word = 0;
  return lock;
}

uintptr_t *qs_lock_word(struct qs_lock *lock) { return &lock->word; }

void qs_lock_destroy(struct qs_lock *lock) {
  pthread_mutex_destroy(&lock->mutex);
  free(lock);
}

// A mutex of the default kind fails only when it is not one.
void qs_lock_acquire(struct qs_lock *lock) { pthread_mutex_lock(&lock->mutex); }
void qs_lock_release(struct qs_lock *lock) { pthread_mutex_unlock(&lock->mutex); }
void qs_lock_reset(struct qs_lock *lock) { pthread_mutex_init(&lock->mutex, NULL); }
