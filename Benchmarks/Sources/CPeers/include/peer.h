// A way to read what others replace, in C or C++: what the contenders of every experiment are made of.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What is published.
struct peer_item {
  uint64_t number;
};

struct peer {
  const char *name;

  /// Why it cannot take part, for people; nothing else is set then.
  const char *missing;

  /// Whether a reader may sleep until another lets it in: its processor time is not what it costs then.
  bool blocks;

  /// A published item that a writer could replace at any time, on the heap: nothing the compiler could know.
  void *(*make)(uint64_t number);

  /// Around all that a thread does with the cell. May be null.
  void (*begin)(void *cell);
  void (*end)(void *cell);

  /// Around a time in which the thread reads nothing. May be null.
  void (*rest)(void *cell);
  void (*wake)(void *cell);

  /// Reads the number so often. Returns the sum. `place` is one of PEER_PLACES. Flavors that want to be told are told
  /// once, after the last read.
  uint64_t (*read)(void *cell, int place, uint64_t count);

  /// The same with sections that take longer; see `peer_work`.
  uint64_t (*work)(void *cell, uint64_t length, uint64_t count);

  /// Publishes an item with the same number, and has the old one freed when nobody can read it any more. Null for what
  /// cannot be replaced.
  void (*update)(void *cell, uint64_t number);

  /// Waits until everyone who reads now has let go. May be null. The thread has begun, and reads nothing itself.
  void (*synchronize)(void *cell);

  /// Waits until everything old has been freed. May be null.
  void (*drain)(void *cell);
};

// Unprotected: the floor of every protection.
extern const struct peer peer_plain;

// liburcu, its read side inline.
extern const struct peer peer_memb, peer_mb, peer_bp, peer_qsbr;

// liburcu by calls into its shared library, as for code that does not define _LGPL_SOURCE. It has no such form of
// qsbr, whose sections are empty.
extern const struct peer peer_memb_called, peer_mb_called, peer_bp_called;

extern const struct peer peer_rwlock, peer_mutex;

// ConcurrencyKit.
extern const struct peer peer_ck_epoch, peer_ck_brlock;

// DPDK.
extern const struct peer peer_rte_qsbr;

// What C++ programs use.
extern const struct peer peer_shared_mutex, peer_atomic_shared_ptr;

/// No load at all: what the loop and the sum cost.
uint64_t peer_floor(int place, uint64_t count);

/// The body of the floor in any language: a number that the compiler does not know.
static inline uint64_t peer_opaque(uint64_t number) {
  __asm__ volatile("" : "+r"(number));
  return number;
}

/// What a longer section does: so many steps, each waiting for the one before. Returns the number.
static inline uint64_t peer_work(uint64_t number, uint64_t length) {
  for (uint64_t step = 0; step < length; step++) number = peer_opaque(number);
  return number;
}

#ifdef __cplusplus
}
#endif
