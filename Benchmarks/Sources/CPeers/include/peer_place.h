// The place of a loop in memory.
//
// The same instructions take up to a third more time if one of their branches crosses a cache line,
// and the place of a loop changes with everything that is linked before it. So each loop exists at
// four places, in both languages, and its best place counts.
#pragma once

/// The number of places.
enum { PEER_PLACES = 4 };

#if defined(__x86_64__)
#define PEER_SKIP(bytes) __asm__ volatile(".p2align 6\n\t.rept " #bytes " + 1\n\tnop\n\t.endr")
#else
#define PEER_SKIP(bytes) __asm__ volatile(".p2align 6\n\t.rept " #bytes " / 4\n\tnop\n\t.endr")
#endif

// Directly before a loop: the next instruction starts this many bytes into a cache line, or
// slightly later, and the compiler aligns the loop to the next 16 bytes.
static inline void peer_place_0(void) { PEER_SKIP(0); }
static inline void peer_place_16(void) { PEER_SKIP(16); }
static inline void peer_place_32(void) { PEER_SKIP(32); }
static inline void peer_place_48(void) { PEER_SKIP(48); }
