// liburcu's own grace periods, callbacks and barriers, flavour memb.
#pragma once

#include <stdint.h>

void peer_memb_register(void);
void peer_memb_unregister(void);

/// synchronize_rcu
void peer_memb_synchronize(void);

/// rcu_barrier
void peer_memb_barrier(void);

/// Queues one callback by call_rcu and sleeps until it has run. The thread is registered.
void peer_memb_call_and_wait(void);

/// Objects for call_rcu, as many as `count`, with the header that it needs inside.
struct peer_node;
struct peer_node *peer_nodes_make(uint64_t count);
void peer_nodes_free(struct peer_node *nodes);

/// Passes each of the objects to call_rcu. The thread is registered. Every callback counts itself by
/// `peer_count_released`.
void peer_nodes_call(struct peer_node *nodes, uint64_t count);

/// What reclaimers have released so far. Each of them is one thread, and they do not run at the same time.
extern uint64_t peer_released;
static inline void peer_count_released(void) {
  __atomic_store_n(&peer_released, __atomic_load_n(&peer_released, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}
static inline uint64_t peer_released_count(void) { return __atomic_load_n(&peer_released, __ATOMIC_ACQUIRE); }

/// A retired object's function, for Swift: counts.
void peer_release(void *object);
