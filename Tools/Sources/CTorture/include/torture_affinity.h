// Which processors a thread may run on.
#pragma once

#include <stddef.h>
#include <sys/types.h>

/// The kernel's id of the calling thread.
pid_t torture_thread_id(void);

/// Writes the numbers of the processors that the calling thread may use. Returns how many; at most
/// `capacity`.
size_t torture_processors(int *numbers, size_t capacity);

/// Lets a thread run on these processors alone. Returns 0 or an errno.
int torture_set_processors(pid_t thread, const int *numbers, size_t count);
