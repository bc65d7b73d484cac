// Watches the parent process through a descriptor, and measures this process's heap.
#pragma once

#include <stddef.h>

/// Opens a descriptor that becomes readable when the parent process ends. -ESRCH if it has already
/// ended.
int process_open_parent(void);

/// The number of heap bytes that are allocated and not freed.
size_t process_heap_in_use(void);
