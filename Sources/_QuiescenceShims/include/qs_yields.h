// How often a thread gives its processor up for the grace periods of one flavor.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// The limit in each phase of a grace period: see wake.h.
uint32_t qs_yield_limit(void);

/// For the benchmark that shows what reads cost without yields.
void qs_set_yield_limit(uint32_t limit);

/// Drops every wake-up from here on. For the torture, which must find the grace periods that sleep
/// for ever.
void qs_lose_wakeups(void);

/// A condition that holds rarely, but then at each leave for as long as a reader stalls: the code
/// for it stays in the caller, behind the way. What is less likely than 1 in 100 the compiler makes
/// a function of, and calls it.
#define QS_SELDOM(condition) __builtin_expect_with_probability((condition) != 0, 0, 0.98)

/// Of one thread and one flavor. A phase is named by a number that the flavor chooses, never 0.
struct qs_yields {
  /// The phase in which the thread may not yield any more.
  unsigned long used_up;
  /// The phase that `count` is for.
  unsigned long phase;
  uint32_t count;
};
