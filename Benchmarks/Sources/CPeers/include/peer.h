// A way to read a value that other threads replace, in C or C++: the contenders of the reading
// experiments.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The published object.
struct peer_item {
  uint64_t number;
};

struct peer {
  const char *name;

  /// Why the peer is missing, for people; all other fields are unset then.
  const char *missing;

  /// Whether a reader may sleep while it waits. Then its processor time does not show its cost.
  bool blocks;

  /// Whether `update` spins for a grace period. Threads that all do so on one processor wait for
  /// the scheduler at every update.
  bool update_spins;

  /// Creates a published item on the heap, which a writer could replace at any time. The compiler
  /// knows nothing about it.
  void *(*make)(uint64_t number);

  /// Called before and after everything that a thread does with the cell. May be null.
  void (*begin)(void *cell);
  void (*end)(void *cell);

  /// Called before and after a time in which the thread does not read. May be null.
  void (*rest)(void *cell);
  void (*wake)(void *cell);

  /// Reads the number `count` times. Returns the sum. `place` is one of PEER_PLACES. Flavors with
  /// explicit quiescent states report one, after the last read.
  uint64_t (*read)(void *cell, int place, uint64_t count);

  /// The same with longer sections; see `peer_work`.
  uint64_t (*work)(void *cell, uint64_t length, uint64_t count);

  /// Publishes a new item with the same number, and frees the old one when no reader can hold it.
  /// Null if the peer cannot replace its item.
  void (*update)(void *cell, uint64_t number);

  /// Waits until all current readers have left. May be null. The calling thread has called `begin`,
  /// and is not reading.
  void (*synchronize)(void *cell);

  /// Waits until every old item was freed. May be null.
  void (*drain)(void *cell);
};

// Without protection: the lower bound for every protection.
extern const struct peer peer_plain;

// liburcu, with its read side inlined.
extern const struct peer peer_memb, peer_mb, peer_bp, peer_qsbr;

// liburcu through calls into its shared library, as in code that does not define _LGPL_SOURCE.
// There is no such form of qsbr, whose sections are empty.
extern const struct peer peer_memb_called, peer_mb_called, peer_bp_called;

extern const struct peer peer_rwlock, peer_mutex;

// ConcurrencyKit.
extern const struct peer peer_ck_epoch, peer_ck_brlock;

// DPDK.
extern const struct peer peer_rte_qsbr;

// The alternatives in C++.
extern const struct peer peer_shared_mutex, peer_atomic_shared_ptr;

/// A loop without a load: the cost of the loop and the sum.
uint64_t peer_floor(int place, uint64_t count);

/// The body of that loop, in both languages: a number that the compiler does not know.
static inline uint64_t peer_opaque(uint64_t number) {
  __asm__ volatile("" : "+r"(number));
  return number;
}

/// The work in a longer section: `length` steps, each of which depends on the step before. Returns
/// the number.
static inline uint64_t peer_work(uint64_t number, uint64_t length) {
  for (uint64_t step = 0; step < length; step++) number = peer_opaque(number);
  return number;
}

#ifdef __cplusplus
}
#endif
