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

/// What reclaimers have released so far. Each of them is one thread, and they do not run at the same time.
extern uint64_t peer_released;
static inline void peer_count_released(void) {
  __atomic_store_n(&peer_released, __atomic_load_n(&peer_released, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}
static inline uint64_t peer_released_count(void) { return __atomic_load_n(&peer_released, __ATOMIC_ACQUIRE); }
