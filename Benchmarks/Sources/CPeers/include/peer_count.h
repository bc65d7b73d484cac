// Counting in C: one up and one down, so often.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A number of the thread's own: what counting costs that nobody else can see. Returns how often it was not 0 between.
uint64_t peer_count_own(uint64_t count);

/// One atomic, shared by all who call.
uint64_t peer_count_shared(uint64_t count);

/// One number under a pthread mutex.
uint64_t peer_count_locked(uint64_t count);

/// Copies a std::shared_ptr and drops the copy, so often: one count, shared by all who call.
uint64_t peer_count_shared_ptr(uint64_t count);

/// What the shared ones have come to: 0 when nobody is counting.
int64_t peer_count_left(void);

#ifdef __cplusplus
}
#endif
