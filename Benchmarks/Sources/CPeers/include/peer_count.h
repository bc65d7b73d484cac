// Counting in C: `count` pairs of an increment and a decrement.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Uses a number of the thread's own: the cost of counting that no other thread can see. Returns
/// how often the number was not 0 in between.
uint64_t peer_count_own(uint64_t count);

/// One atomic, shared by all callers.
uint64_t peer_count_shared(uint64_t count);

/// One number under a pthread mutex.
uint64_t peer_count_locked(uint64_t count);

/// Copies and destroys a std::shared_ptr: one count, shared by all callers.
uint64_t peer_count_shared_ptr(uint64_t count);

/// The sum of the shared counters: 0 when no thread is counting.
int64_t peer_count_left(void);

#ifdef __cplusplus
}
#endif
