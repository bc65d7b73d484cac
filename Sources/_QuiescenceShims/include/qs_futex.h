// Parking on a 32-bit word.
#pragma once

#include <stdint.h>

/// Sleeps while `*word == expected`; returns on a wake, a signal, a changed word, or the timeout.
/// `nanoseconds` < 0 waits without a limit. Returns 0, or ETIMEDOUT.
int qs_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds);

/// Wakes every thread that sleeps on the word.
void qs_futex_wake_all(const void *word);

/// The monotonic clock in nanoseconds; never 0.
uint64_t qs_clock_nanoseconds(void);
