// Unloading code with a lock around every call: what a program does that has nothing better.
#pragma once

#include <stdint.h>

/// Maps the image and lets its `traffic_hook` be called. Returns 0 or an errno.
int peer_locked_load(const char *path);

/// Calls it so often, under the lock each time. Returns how many calls found it.
uint64_t peer_locked_dispatch(uint64_t rounds);

/// Takes it away from under the callers, and unmaps it. Returns 0 or an errno.
int peer_locked_unload(void);
