#define _GNU_SOURCE
#include "qs_lock.h"

#include <pthread.h>
#include <stdlib.h>

struct qs_lock {
  pthread_mutex_t mutex;
};

struct qs_lock *qs_lock_create(void) {
  struct qs_lock *lock = malloc(sizeof *lock);
  if (lock == NULL) abort();
  pthread_mutex_init(&lock->mutex, NULL);
  return lock;
}

void qs_lock_destroy(struct qs_lock *lock) {
  pthread_mutex_destroy(&lock->mutex);
  free(lock);
}

// A mutex of the default kind fails only when it is not one.
void qs_lock_acquire(struct qs_lock *lock) { pthread_mutex_lock(&lock->mutex); }
void qs_lock_release(struct qs_lock *lock) { pthread_mutex_unlock(&lock->mutex); }
void qs_lock_reset(struct qs_lock *lock) { pthread_mutex_init(&lock->mutex, NULL); }
