// Clocks and processors.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// The processors that the calling thread may run on, in ascending order; at most `capacity`.
/// Negative: an errno.
int peer_allowed_processors(int *processors, int capacity);

/// Pins the calling thread to one processor. Returns 0 or an errno.
int peer_pin(int processor);

/// The processor time of the calling thread, in nanoseconds.
uint64_t peer_thread_nanoseconds(void);

/// Wall-clock time, in nanoseconds.
uint64_t peer_wall_nanoseconds(void);

/// How often the calling thread has gone to sleep voluntarily. Processor time does not include
/// that.
uint64_t peer_thread_sleeps(void);

/// The C compiler's version, and the C library's.
const char *peer_compiler(void);
const char *peer_c_library(void);

/// Sleeps for about this many nanoseconds.
void peer_sleep(uint64_t nanoseconds);

/// Whether leaves of this library's sections give the processor up while a grace period sleeps.
void peer_forbid_yields(bool forbids);
