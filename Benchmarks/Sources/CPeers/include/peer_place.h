// Where a loop lies in memory.
//
// The same instructions take up to a third more time when a branch of theirs happens to cross a cache line, and where a
// loop lies changes with everything that is linked before it. So each loop exists at four places, in both languages,
// and its best place counts.
#pragma once

/// How many there are.
enum { PEER_PLACES = 4 };

#if defined(__x86_64__)
#define PEER_SKIP(bytes) __asm__ volatile(".p2align 6\n\t.rept " #bytes " + 1\n\tnop\n\t.endr")
#else
#define PEER_SKIP(bytes) __asm__ volatile(".p2align 6\n\t.rept " #bytes " / 4\n\tnop\n\t.endr")
#endif

// Directly before a loop: what follows starts so many bytes into a cache line, or a little behind, and the compiler
// aligns the loop to the next 16 bytes.
static inline void peer_place_0(void) { PEER_SKIP(0); }
static inline void peer_place_16(void) { PEER_SKIP(16); }
static inline void peer_place_32(void) { PEER_SKIP(32); }
static inline void peer_place_48(void) { PEER_SKIP(48); }
