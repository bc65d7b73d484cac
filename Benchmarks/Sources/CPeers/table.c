#define _LGPL_SOURCE
#include "peer_collection.h"

#include <stdlib.h>
#include <urcu/urcu-memb.h>

#include <urcu/rculfhash.h>

// As in reads_inlined.c.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

struct entry {
  struct cds_lfht_node node;
  struct rcu_head head;
  uint64_t key, value;
};

static int matches(struct cds_lfht_node *node, const void *key) {
  return caa_container_of(node, struct entry, node)->key == *(const uint64_t *)key;
}

static void free_entry(struct rcu_head *head) { free(caa_container_of(head, struct entry, head)); }

static struct entry *make_entry(uint64_t index) {
  struct entry *entry = malloc(sizeof *entry);
  if (entry == NULL) abort();
  cds_lfht_node_init(&entry->node);
  entry->key = peer_key(index);
  entry->value = index + 1;
  return entry;
}

static void *make(uint64_t entries) {
  uint64_t buckets = 64;
  while (buckets < entries) buckets *= 2;
  struct cds_lfht *table =
      cds_lfht_new_flavor(buckets, 64, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, &urcu_memb_flavor, NULL);
  if (table == NULL) abort();
  urcu_memb_register_thread();
  for (uint64_t index = 0; index < entries; index++) {
    struct entry *entry = make_entry(index);
    urcu_memb_read_lock();
    cds_lfht_add(table, peer_hash(entry->key), &entry->node);
    urcu_memb_read_unlock();
  }
  urcu_memb_unregister_thread();
  return table;
}

static uint64_t run(void *opaque, const struct peer_operations *operations) {
  struct cds_lfht *table = opaque;
  uint64_t seed = operations->seed, sum = 0, left = operations->write_every;
  urcu_memb_register_thread();
  for (uint64_t i = 0; i < operations->count; i++) {
    uint64_t index = peer_next(&seed, operations->entries) + operations->first, key = peer_key(index);
    if (operations->write_every != 0 && --left == 0) {
      left = operations->write_every;
      struct entry *entry = make_entry(index);
      urcu_memb_read_lock();
      struct cds_lfht_node *old = cds_lfht_add_replace(table, peer_hash(key), matches, &key, &entry->node);
      urcu_memb_read_unlock();
      if (old != NULL) urcu_memb_call_rcu(&caa_container_of(old, struct entry, node)->head, free_entry);
    } else {
      struct cds_lfht_iter iterator;
      urcu_memb_read_lock();
      cds_lfht_lookup(table, peer_hash(key), matches, &key, &iterator);
      struct cds_lfht_node *node = cds_lfht_iter_get_node(&iterator);
      if (node != NULL) sum += caa_container_of(node, struct entry, node)->value;
      urcu_memb_read_unlock();
    }
  }
  urcu_memb_unregister_thread();
  return sum;
}

static void destroy(void *opaque) {
  struct cds_lfht *table = opaque;
  struct cds_lfht_iter iterator;
  struct cds_lfht_node *node;
  urcu_memb_register_thread();
  urcu_memb_barrier();
  urcu_memb_read_lock();
  cds_lfht_for_each(table, &iterator, node) {
    if (cds_lfht_del(table, node) == 0) {
      urcu_memb_call_rcu(&caa_container_of(node, struct entry, node)->head, free_entry);
    }
  }
  urcu_memb_read_unlock();
  urcu_memb_barrier();
  urcu_memb_unregister_thread();
  cds_lfht_destroy(table, NULL);
}

const struct peer_collection peer_table_lfht = {.name = "cds_lfht, C", .make = make, .run = run, .destroy = destroy};
