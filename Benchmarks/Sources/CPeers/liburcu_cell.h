// The object that liburcu's flavors publish, and how they replace it.
#pragma once

#include <stdlib.h>
#include <urcu/pointer.h>

#include "peer.h"

// liburcu declares these for the first flavor that is included, but not for others.
#define PEER_DECLARE(flavor)                                                          \
  void urcu_##flavor##_call_rcu(struct rcu_head *, void (*)(struct rcu_head *));      \
  void urcu_##flavor##_barrier(void);
PEER_DECLARE(memb)
PEER_DECLARE(mb)
PEER_DECLARE(bp)
PEER_DECLARE(qsbr)

struct peer_cell {
  struct peer_item *item;
};

/// The item is the first field: readers see only the item.
struct peer_node {
  struct peer_item item;
  struct rcu_head head;
};

static inline struct peer_item *peer_node_make(uint64_t number) {
  struct peer_node *node = malloc(sizeof *node);
  if (node == NULL) abort();
  node->item.number = number;
  return &node->item;
}

static inline void *peer_cell_make(uint64_t number) {
  struct peer_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  cell->item = peer_node_make(number);
  return cell;
}

static inline void peer_node_free(struct rcu_head *head) { free(caa_container_of(head, struct peer_node, head)); }

/// Defines the functions of a flavor besides reading.
#define PEER_WRITES(flavor)                                                                       \
  static void flavor##_begin(void *cell) { (void)cell; urcu_##flavor##_register_thread(); }       \
  static void flavor##_end(void *cell) { (void)cell; urcu_##flavor##_unregister_thread(); }       \
  static void flavor##_update(void *opaque, uint64_t number) {                                    \
    struct peer_cell *cell = opaque;                                                              \
    struct peer_item *old = rcu_xchg_pointer(&cell->item, peer_node_make(number));                \
    urcu_##flavor##_call_rcu(&caa_container_of(old, struct peer_node, item)->head, peer_node_free); \
  }                                                                                               \
  static void flavor##_synchronize(void *cell) { (void)cell; urcu_##flavor##_synchronize_rcu(); } \
  static void flavor##_drain(void *cell) { (void)cell; urcu_##flavor##_barrier(); }

#define PEER_FLAVOR(flavor, title, loops)                                                         \
  {                                                                                               \
    .name = title, .make = peer_cell_make, .begin = flavor##_begin, .end = flavor##_end,          \
    .read = loops##_read, .work = loops##_work, .update = flavor##_update,                        \
    .synchronize = flavor##_synchronize, .drain = flavor##_drain                                  \
  }
