// ConcurrencyKit, if it is installed.
#include "peer.h"

#ifndef PEER_CONCURRENCY_KIT
#define MISSING "ConcurrencyKit is not installed (Debian: libck-dev)"
const struct peer peer_ck_epoch = {.name = "ck_epoch, C", .missing = MISSING};
const struct peer peer_ck_brlock = {.name = "ck_brlock, C", .missing = MISSING};
#else

#include <ck_brlock.h>
#include <ck_epoch.h>
#include <stdlib.h>

#include "read_loop.h"

struct epoch_node {
  struct peer_item item;
  ck_epoch_entry_t entry;
};

struct epoch_cell {
  ck_epoch_t epoch;
  struct peer_item *item;
};

static __thread ck_epoch_record_t *epoch_record;
static __thread unsigned epoch_updates;

static struct peer_item *epoch_node_make(uint64_t number) {
  struct epoch_node *node = malloc(sizeof *node);
  if (node == NULL) abort();
  node->item.number = number;
  return &node->item;
}

static void *epoch_make(uint64_t number) {
  struct epoch_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  ck_epoch_init(&cell->epoch);
  cell->item = epoch_node_make(number);
  return cell;
}

static void epoch_begin(void *opaque) {
  struct epoch_cell *cell = opaque;
  epoch_record = ck_epoch_recycle(&cell->epoch, NULL);
  if (epoch_record != NULL) return;
  // Never freed: the epoch keeps visiting it.
  epoch_record = aligned_alloc(_Alignof(ck_epoch_record_t), sizeof *epoch_record);
  if (epoch_record == NULL) abort();
  ck_epoch_register(&cell->epoch, epoch_record, NULL);
}

static void epoch_end(void *cell) {
  (void)cell;
  ck_epoch_barrier(epoch_record);
  ck_epoch_unregister(epoch_record);
}

PEER_LOOPS(
    epoch, struct epoch_cell, ck_epoch_begin(epoch_record, NULL), ck_pr_load_ptr(&cell->item),
    ck_epoch_end(epoch_record, NULL))

static void epoch_free(ck_epoch_entry_t *entry) {
  free((char *)entry - offsetof(struct epoch_node, entry));
}

static void epoch_update(void *opaque, uint64_t number) {
  struct epoch_cell *cell = opaque;
  struct peer_item *old = ck_pr_fas_ptr(&cell->item, epoch_node_make(number));
  ck_epoch_call(epoch_record, &((struct epoch_node *)old)->entry, epoch_free);
  // The thread that retires also frees, every 64th time.
  if (++epoch_updates % 64 == 0) ck_epoch_poll(epoch_record);
}

static void epoch_synchronize(void *cell) {
  (void)cell;
  ck_epoch_synchronize(epoch_record);
}

const struct peer peer_ck_epoch = {
    .name = "ck_epoch, C", .make = epoch_make, .begin = epoch_begin, .end = epoch_end, .read = epoch_read,
    .work = epoch_work, .update = epoch_update, .synchronize = epoch_synchronize};

struct brlock_cell {
  ck_brlock_t lock;
  struct peer_item *item;
};

// On a cache line of its own.
static __thread ck_brlock_reader_t brlock_reader __attribute__((aligned(64)));

static void *brlock_make(uint64_t number) {
  struct brlock_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  ck_brlock_init(&cell->lock);
  cell->item = epoch_node_make(number);
  return cell;
}

static void brlock_begin(void *opaque) {
  struct brlock_cell *cell = opaque;
  ck_brlock_read_register(&cell->lock, &brlock_reader);
}

static void brlock_end(void *opaque) {
  struct brlock_cell *cell = opaque;
  ck_brlock_read_unregister(&cell->lock, &brlock_reader);
}

PEER_LOOPS(
    brlock, struct brlock_cell, ck_brlock_read_lock(&cell->lock, &brlock_reader), ck_pr_load_ptr(&cell->item),
    ck_brlock_read_unlock(&brlock_reader))

static void brlock_update(void *opaque, uint64_t number) {
  struct brlock_cell *cell = opaque;
  struct peer_item *item = epoch_node_make(number);
  ck_brlock_write_lock(&cell->lock);
  struct peer_item *old = cell->item;
  ck_pr_store_ptr(&cell->item, item);
  ck_brlock_write_unlock(&cell->lock);
  free(old);
}

static void brlock_synchronize(void *opaque) {
  struct brlock_cell *cell = opaque;
  ck_brlock_write_lock(&cell->lock);
  ck_brlock_write_unlock(&cell->lock);
}

// A reader spins while it waits, so its processor time includes the wait.
const struct peer peer_ck_brlock = {
    .name = "ck_brlock, C", .make = brlock_make, .begin = brlock_begin, .end = brlock_end, .read = brlock_read,
    .work = brlock_work, .update = brlock_update, .synchronize = brlock_synchronize};
#endif
