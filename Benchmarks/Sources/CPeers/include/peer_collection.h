// Tables, lists, queues and stacks that several threads use at once.
#pragma once

#include <stdint.h>

/// Key number i of a table: numbers that are spread, so that no table is in the order of its keys.
static inline uint64_t peer_key(uint64_t index) { return index * UINT64_C(0x9E3779B97F4A7C15); }

/// The hash of `FastHashed`: one multiplication of two words whose halves are joined.
static inline uint64_t peer_hash(uint64_t key) {
  unsigned __int128 product = (unsigned __int128)(key ^ UINT64_C(0x2D358DCCAA6C78A5)) * UINT64_C(0x8BB84B93962EACC9);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/// The next index below `entries`. The same sequence in every language.
static inline uint64_t peer_next(uint64_t *state, uint64_t entries) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *state = x;
  return (x >> 32) * entries >> 32;
}

/// What one thread does in one round.
struct peer_operations {
  uint64_t seed;
  /// Entries of the collection; or how many elements are put in before some are taken out.
  uint64_t entries;
  uint64_t count;
  /// Each operation of this number is a write; 0: none.
  uint64_t write_every;
  /// The first index of a key that is looked up. Where it is `entries`, no key is there.
  uint64_t first;
};

struct peer_collection {
  const char *name;
  /// Why the peer is missing, for people; all other fields are unset then.
  const char *missing;
  void *(*make)(uint64_t entries);
  /// Returns the sum of the numbers that were found.
  uint64_t (*run)(void *collection, const struct peer_operations *operations);
  void (*destroy)(void *collection);
};

// Tables: number i has the key `peer_key(i)` and the value i + 1. Operations look random keys up; a
// write replaces a value by an equal one.

/// liburcu's cds_lfht, with sections of liburcu-memb inlined.
extern const struct peer_collection peer_table_lfht;
/// ConcurrencyKit's ck_ht, with sections of ck_epoch; writers take turns under a mutex.
extern const struct peer_collection peer_table_ck;
/// `std::unordered_map` behind a `std::shared_mutex`.
extern const struct peer_collection peer_table_shared_mutex;

// Lists of the numbers from 1 to `entries`. Operations add all numbers up, `count` times; a write
// puts a zero at the beginning, and takes one out.

/// liburcu's rculist, with sections of liburcu-memb inlined; writers take turns under a mutex.
extern const struct peer_collection peer_list_rcu;
/// `std::list` behind a `std::shared_mutex`.
extern const struct peer_collection peer_list_shared_mutex;

// Queues and stacks, empty at first. Operations put `entries` ones in, and take as many out one by
// one (where `entries` is 1) or all that are there at once; until `count` were put in.

/// liburcu's wfcqueue, lfstack and wfstack, inlined.
extern const struct peer_collection peer_queue_wait_free, peer_stack_lock_free, peer_stack_wait_free;
/// `std::deque` behind a `std::mutex`.
extern const struct peer_collection peer_queue_mutex;
