#include "peer_count.h"

#include <pthread.h>

// On a cache line of its own.
static struct {
  int64_t number;
} shared __attribute__((aligned(64)));

static struct {
  pthread_mutex_t lock;
  int64_t number;
} locked __attribute__((aligned(64))) = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t peer_count_own(uint64_t count) {
  volatile int64_t number = 0;
  uint64_t seen = 0;
  for (uint64_t i = 0; i < count; i++) {
    number = number + 1;
    seen += number != 0;
    number = number - 1;
  }
  return seen;
}

uint64_t peer_count_shared(uint64_t count) {
  uint64_t seen = 0;
  for (uint64_t i = 0; i < count; i++) {
    seen += __atomic_add_fetch(&shared.number, 1, __ATOMIC_RELAXED) > 0;
    __atomic_sub_fetch(&shared.number, 1, __ATOMIC_RELEASE);
  }
  return seen;
}

uint64_t peer_count_locked(uint64_t count) {
  uint64_t seen = 0;
  for (uint64_t i = 0; i < count; i++) {
    pthread_mutex_lock(&locked.lock);
    seen += ++locked.number > 0;
    pthread_mutex_unlock(&locked.lock);
    pthread_mutex_lock(&locked.lock);
    locked.number--;
    pthread_mutex_unlock(&locked.lock);
  }
  return seen;
}

int64_t peer_count_left(void) { return __atomic_load_n(&shared.number, __ATOMIC_RELAXED) + locked.number; }
