// Watching another process, by a descriptor; and this one's heap.
#pragma once

#include <stddef.h>

/// A descriptor that becomes readable when the parent process ends. -ESRCH when it has ended already.
int process_open_parent(void);

/// Bytes of the heap that are allocated and not freed.
size_t process_heap_in_use(void);
