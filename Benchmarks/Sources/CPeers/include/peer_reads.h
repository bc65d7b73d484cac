// Loops that read through a published pointer, in C. Each returns the sum of what it has read.
// `place` is one of PEER_PLACES.
#pragma once

#include <stdint.h>

/// What is published.
struct peer_item {
  uint64_t number;
};

/// A pointer that a writer could replace at any time, on the heap: nothing the compiler could know.
struct peer_cell;
struct peer_cell *peer_cell_make(uint64_t number);

/// No load at all: what the loop and the sum cost.
uint64_t peer_floor(int place, uint64_t count);

/// The body of the floor in any language: a number that the compiler does not know.
static inline uint64_t peer_opaque(uint64_t number) {
  __asm__ volatile("" : "+r"(number));
  return number;
}

/// An acquire load of the pointer and a load of the number, unprotected.
uint64_t peer_read_plain(const struct peer_cell *cell, int place, uint64_t count);

// The same inside a section of liburcu's, whose read side is inline.
uint64_t peer_read_memb(const struct peer_cell *cell, int place, uint64_t count);
uint64_t peer_read_mb(const struct peer_cell *cell, int place, uint64_t count);
uint64_t peer_read_bp(const struct peer_cell *cell, int place, uint64_t count);
uint64_t peer_read_qsbr(const struct peer_cell *cell, int place, uint64_t count);

// The same by calls into the shared library, as for code that does not define _LGPL_SOURCE. liburcu has no such
// form of qsbr, whose sections are empty.
uint64_t peer_read_memb_called(const struct peer_cell *cell, int place, uint64_t count);
uint64_t peer_read_mb_called(const struct peer_cell *cell, int place, uint64_t count);
uint64_t peer_read_bp_called(const struct peer_cell *cell, int place, uint64_t count);
