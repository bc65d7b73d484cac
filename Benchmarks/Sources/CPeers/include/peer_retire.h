// Deferred reclamation in C.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// What reclaimers have released so far.
extern uint64_t peer_released;
static inline void peer_count_released(void) { __atomic_fetch_add(&peer_released, 1, __ATOMIC_RELAXED); }
static inline uint64_t peer_released_count(void) { return __atomic_load_n(&peer_released, __ATOMIC_ACQUIRE); }

/// A way to have memory freed later.
struct peer_reclaimer {
  const char *name;
  const char *missing;
  /// Around all that a thread does.
  void (*begin)(void);
  void (*end)(void);
  /// Retires a node that `peer_retirable_make` made. Freeing it counts.
  void (*retire)(void *node);
  /// Waits until everything that the calling thread retired has been freed.
  void (*drain)(void);
};

extern const struct peer_reclaimer peer_call_rcu, peer_defer_rcu, peer_epoch_call;

/// As large as a small object of Swift's.
void *peer_retirable_make(void);

/// Retires each by call_rcu: a loop in C, no call through a pointer in the way.
void peer_call_rcu_all(void **nodes, uint64_t count);

/// rcu_barrier, flavor memb.
void peer_memb_barrier(void);

/// Queues one callback by call_rcu and sleeps until it has run. The thread is registered.
void peer_memb_call_and_wait(void);

/// Gives back to the system what malloc keeps and nobody uses.
void peer_trim(void);

/// Bytes of memory that the process has from the system, to a few dozen pages. Costs a microsecond: asking malloc takes
/// so long that a reclaimer catches up meanwhile.
size_t peer_resident_bytes(void);
