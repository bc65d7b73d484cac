// Deferred reclamation in C.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// The number of objects that reclaimers have released.
extern uint64_t peer_released;
static inline void peer_count_released(void) { __atomic_fetch_add(&peer_released, 1, __ATOMIC_RELAXED); }
static inline uint64_t peer_released_count(void) { return __atomic_load_n(&peer_released, __ATOMIC_ACQUIRE); }

/// A way to have memory freed later.
struct peer_reclaimer {
  const char *name;
  const char *missing;
  /// Called before and after everything that a thread does.
  void (*begin)(void);
  void (*end)(void);
  /// Retires a node from `peer_retirable_make`. Freeing the node increments `peer_released`.
  void (*retire)(void *node);
  /// Waits until everything that the calling thread has retired was freed.
  void (*drain)(void);
};

extern const struct peer_reclaimer peer_call_rcu, peer_defer_rcu, peer_epoch_call;

/// Allocates a node as large as a small Swift object.
void *peer_retirable_make(void);

/// Retires each node with call_rcu: a loop in C without a call through a pointer.
void peer_call_rcu_all(void **nodes, uint64_t count);

/// rcu_barrier of the flavor memb.
void peer_memb_barrier(void);

/// Queues one callback with call_rcu, and sleeps until it has run. The thread must be registered.
void peer_memb_call_and_wait(void);

/// Returns unused memory of malloc to the system.
void peer_trim(void);

/// Bytes of memory that the process has from the system, exact to a few dozen pages. Takes a
/// microsecond; asking malloc would take so long that a reclaimer catches up in the meantime.
size_t peer_resident_bytes(void);
