// Hash tables that are looked up while they are changed.
#pragma once

#include <stdint.h>

/// Key number i of a table: numbers that are spread, so that no table is in the order of its keys.
static inline uint64_t peer_table_key(uint64_t index) { return index * UINT64_C(0x9E3779B97F4A7C15); }

/// The hash of `FastHashed`: one multiplication of two words whose halves are joined.
static inline uint64_t peer_table_hash(uint64_t key) {
  unsigned __int128 product = (unsigned __int128)(key ^ UINT64_C(0x2D358DCCAA6C78A5)) * UINT64_C(0x8BB84B93962EACC9);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/// The next index below `entries`. The same sequence in every language.
static inline uint64_t peer_table_next(uint64_t *state, uint64_t entries) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *state = x;
  return (x >> 32) * entries >> 32;
}

/// A table of `entries` entries: number i has the key `peer_table_key(i)` and the value i + 1.
struct peer_table {
  const char *name;
  void *(*make)(uint64_t entries);
  /// `count` operations at random keys; each `write_every`-th replaces the value by an equal one
  /// (0: none), and each other looks it up. Returns the sum of the values that were found.
  uint64_t (*run)(void *table, uint64_t seed, uint64_t entries, uint64_t count, uint64_t write_every);
  void (*destroy)(void *table);
};

/// liburcu's cds_lfht, with sections of liburcu-memb inlined.
extern const struct peer_table peer_table_lfht;
/// `std::unordered_map` behind a `std::shared_mutex`.
extern const struct peer_table peer_table_shared_mutex;
