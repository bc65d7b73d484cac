// Calling an array of functions, in C.
#pragma once

#include <stdint.h>

/// A function that is hooked in.
typedef int (*peer_hook)(void *argument, void *context);

struct peer_hooks;

/// Publishes an array of `count` pointers to `hook`.
struct peer_hooks *peer_hooks_make(uint64_t count, peer_hook hook);

// Go through the array `rounds` times, at one of PEER_PLACES. Return the number of rounds plus the
// number of called hooks, so that a round without hooks counts too.
uint64_t peer_dispatch_plain(struct peer_hooks *hooks, int place, uint64_t rounds);
uint64_t peer_dispatch_memb(struct peer_hooks *hooks, int place, uint64_t rounds);
uint64_t peer_dispatch_rwlock(struct peer_hooks *hooks, int place, uint64_t rounds);
