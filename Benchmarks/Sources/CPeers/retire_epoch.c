// ConcurrencyKit's epochs as a reclaimer.
#include "peer_retire.h"

#ifndef PEER_CONCURRENCY_KIT
const struct peer_reclaimer peer_epoch_call = {
    .name = "ck_epoch_call, C", .missing = "ConcurrencyKit is not installed (Debian: libck-dev)"};
#else

#include <ck_epoch.h>
#include <stdlib.h>

/// Fits into the memory from `peer_retirable_make`.
struct node {
  ck_epoch_entry_t entry;
};

static ck_epoch_t epoch = {0};
static __thread ck_epoch_record_t *record;
static __thread unsigned retired;

static void enter(void) {
  record = ck_epoch_recycle(&epoch, NULL);
  if (record != NULL) return;
  record = aligned_alloc(_Alignof(ck_epoch_record_t), sizeof *record);
  if (record == NULL) abort();
  ck_epoch_register(&epoch, record, NULL);
}

static void drain(void) { ck_epoch_barrier(record); }

static void leave(void) {
  drain();
  ck_epoch_unregister(record);
}

static void release(ck_epoch_entry_t *entry) {
  free((char *)entry - offsetof(struct node, entry));
  peer_count_released();
}

static void retire(void *node) {
  ck_epoch_call(record, &((struct node *)node)->entry, release);
  if (++retired % 64 == 0) ck_epoch_poll(record);
}

__attribute__((constructor)) static void initialize(void) { ck_epoch_init(&epoch); }

const struct peer_reclaimer peer_epoch_call = {
    .name = "ck_epoch_call, C", .begin = enter, .end = leave, .retire = retire, .drain = drain};
#endif
