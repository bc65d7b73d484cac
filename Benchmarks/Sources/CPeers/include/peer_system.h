// Clocks and processors.
#pragma once

#include <stdint.h>

/// Processors that the calling thread may run on, in order; at most `capacity` of them. Negative: an errno.
int peer_allowed_processors(int *processors, int capacity);

/// Keeps the calling thread on one processor. Returns 0 or an errno.
int peer_pin(int processor);

/// Nanoseconds of processor time that the calling thread has had.
uint64_t peer_thread_nanoseconds(void);

/// Nanoseconds on the clock on the wall.
uint64_t peer_wall_nanoseconds(void);

/// How often the calling thread has gone to sleep by itself. Thread time does not show what it waited for.
uint64_t peer_thread_sleeps(void);

/// The C compiler's version, and the C library's.
const char *peer_compiler(void);
const char *peer_c_library(void);

/// Sleeps for about so many nanoseconds.
void peer_sleep(uint64_t nanoseconds);
