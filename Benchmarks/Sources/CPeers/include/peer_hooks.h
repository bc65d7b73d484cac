// Calling functions in turn, in C.
#pragma once

#include <stdint.h>

/// A function that is hooked in.
typedef int (*peer_hook)(void *argument, void *context);

struct peer_hooks;

/// An array of `count` times `hook`, published.
struct peer_hooks *peer_hooks_make(uint64_t count, peer_hook hook);

// So many rounds through the array, at one of PEER_PLACES. Return how many rounds and called hooks there were: a round
// without hooks counts, too.
uint64_t peer_dispatch_plain(struct peer_hooks *hooks, int place, uint64_t rounds);
uint64_t peer_dispatch_memb(struct peer_hooks *hooks, int place, uint64_t rounds);
uint64_t peer_dispatch_rwlock(struct peer_hooks *hooks, int place, uint64_t rounds);
