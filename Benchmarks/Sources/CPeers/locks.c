#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

#include "read_loop.h"

static struct peer_item *item_make(uint64_t number) {
  struct peer_item *item = malloc(sizeof *item);
  if (item == NULL) abort();
  item->number = number;
  return item;
}

struct rwlock_cell {
  pthread_rwlock_t lock;
  struct peer_item *item;
};

static void *rwlock_make(uint64_t number) {
  struct rwlock_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  // glibc's default lets readers overtake a waiting writer for ever.
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(&cell->lock, &attributes);
  pthread_rwlockattr_destroy(&attributes);
  cell->item = item_make(number);
  return cell;
}

PEER_LOOPS(
    rwlock, struct rwlock_cell, pthread_rwlock_rdlock(&cell->lock), cell->item, pthread_rwlock_unlock(&cell->lock))

static void rwlock_update(void *opaque, uint64_t number) {
  struct rwlock_cell *cell = opaque;
  struct peer_item *item = item_make(number);
  pthread_rwlock_wrlock(&cell->lock);
  struct peer_item *old = cell->item;
  cell->item = item;
  pthread_rwlock_unlock(&cell->lock);
  free(old);
}

static void rwlock_synchronize(void *opaque) {
  struct rwlock_cell *cell = opaque;
  pthread_rwlock_wrlock(&cell->lock);
  pthread_rwlock_unlock(&cell->lock);
}

const struct peer peer_rwlock = {
    .name = "pthread_rwlock, C", .blocks = true, .make = rwlock_make, .read = rwlock_read, .work = rwlock_work,
    .update = rwlock_update, .synchronize = rwlock_synchronize};

struct mutex_cell {
  pthread_mutex_t lock;
  struct peer_item *item;
};

static void *mutex_make(uint64_t number) {
  struct mutex_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  pthread_mutex_init(&cell->lock, NULL);
  cell->item = item_make(number);
  return cell;
}

PEER_LOOPS(
    mutex, struct mutex_cell, pthread_mutex_lock(&cell->lock), cell->item, pthread_mutex_unlock(&cell->lock))

static void mutex_update(void *opaque, uint64_t number) {
  struct mutex_cell *cell = opaque;
  struct peer_item *item = item_make(number);
  pthread_mutex_lock(&cell->lock);
  struct peer_item *old = cell->item;
  cell->item = item;
  pthread_mutex_unlock(&cell->lock);
  free(old);
}

static void mutex_synchronize(void *opaque) {
  struct mutex_cell *cell = opaque;
  pthread_mutex_lock(&cell->lock);
  pthread_mutex_unlock(&cell->lock);
}

const struct peer peer_mutex = {
    .name = "pthread_mutex, C", .blocks = true, .make = mutex_make, .read = mutex_read, .work = mutex_work,
    .update = mutex_update, .synchronize = mutex_synchronize};
