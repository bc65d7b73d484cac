// ConcurrencyKit's hash table, if it is installed.
#include "peer_collection.h"

#ifndef PEER_CONCURRENCY_KIT
const struct peer_collection peer_table_ck = {
    .name = "ck_ht, C", .missing = "ConcurrencyKit is not installed (Debian: libck-dev)"};
#else

#include <ck_epoch.h>
#include <ck_ht.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

// Readers are in sections of an epoch, as growth of a table needs it; writers take turns. Keys and
// values are words in the table itself, so a replacement retires nothing.
struct table {
  ck_ht_t table;
  ck_epoch_t epoch;
  pthread_mutex_t lock;
};

static void *allocate(size_t size) { return malloc(size); }
static void give_back(void *memory, size_t size, bool is_shared) {
  (void)size;
  // The table is as large as it gets from the beginning: nothing that is shared is ever replaced.
  if (is_shared) abort();
  free(memory);
}
static struct ck_malloc allocator = {.malloc = allocate, .free = give_back};

static void hash_key(ck_ht_hash_t *hash, const void *key, size_t length, uint64_t seed) {
  (void)length;
  (void)seed;
  hash->value = peer_hash(*(const uintptr_t *)key);
}

/// No key is zero, which stands for an empty place.
static inline uintptr_t table_key(uint64_t index) { return peer_key(index + 1); }

static void put(struct table *table, uint64_t index) {
  ck_ht_hash_t hash;
  ck_ht_entry_t entry;
  uintptr_t key = table_key(index);
  ck_ht_hash_direct(&hash, &table->table, key);
  ck_ht_entry_set_direct(&entry, hash, key, index + 1);
  if (!ck_ht_set_spmc(&table->table, hash, &entry)) abort();
}

static void *make(uint64_t entries) {
  struct table *table = malloc(sizeof *table);
  if (table == NULL) abort();
  if (!ck_ht_init(&table->table, CK_HT_MODE_DIRECT, hash_key, &allocator, 4 * entries, 0)) abort();
  ck_epoch_init(&table->epoch);
  pthread_mutex_init(&table->lock, NULL);
  for (uint64_t index = 0; index < entries; index++) put(table, index);
  return table;
}

static uint64_t run(void *opaque, const struct peer_operations *operations) {
  struct table *table = opaque;
  uint64_t seed = operations->seed, sum = 0, left = operations->write_every;
  ck_epoch_record_t *record = ck_epoch_recycle(&table->epoch, NULL);
  if (record == NULL) {
    // Never freed: the epoch keeps visiting it.
    record = aligned_alloc(_Alignof(ck_epoch_record_t), sizeof *record);
    if (record == NULL) abort();
    ck_epoch_register(&table->epoch, record, NULL);
  }
  for (uint64_t i = 0; i < operations->count; i++) {
    uint64_t index = peer_next(&seed, operations->entries) + operations->first;
    if (operations->write_every != 0 && --left == 0) {
      left = operations->write_every;
      pthread_mutex_lock(&table->lock);
      put(table, index);
      pthread_mutex_unlock(&table->lock);
    } else {
      ck_ht_hash_t hash;
      ck_ht_entry_t entry;
      uintptr_t key = table_key(index);
      ck_epoch_begin(record, NULL);
      ck_ht_hash_direct(&hash, &table->table, key);
      ck_ht_entry_key_set_direct(&entry, key);
      if (ck_ht_get_spmc(&table->table, hash, &entry)) sum += ck_ht_entry_value_direct(&entry);
      ck_epoch_end(record, NULL);
    }
  }
  ck_epoch_unregister(record);
  return sum;
}

static void destroy(void *opaque) {
  struct table *table = opaque;
  ck_ht_destroy(&table->table);
  pthread_mutex_destroy(&table->lock);
  free(table);
}

const struct peer_collection peer_table_ck = {.name = "ck_ht, C", .make = make, .run = run, .destroy = destroy};
#endif
