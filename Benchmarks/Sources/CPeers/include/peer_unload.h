// Unloading code with a lock around every call: the usual alternative.
#pragma once

#include <stdint.h>

/// Maps the image, and allows calls of its `traffic_hook`. Returns 0 or an errno.
int peer_locked_load(const char *path);

/// Calls it `rounds` times, each time under the lock. Returns how many calls found it.
uint64_t peer_locked_dispatch(uint64_t rounds);

/// Removes it and unmaps the image. Returns 0 or an errno.
int peer_locked_unload(void);
