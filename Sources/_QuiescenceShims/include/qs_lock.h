// A lock that survives a fork and that the thread sanitizer sees: pthread's.
//
// Not the standard library's Mutex: it remembers the kernel's id of the owner, which a forked child
// has wrong: a thread that has to wait there takes the process down.
#pragma once

#include <stdint.h>

/// A cache line of its own: memory that readers load never shares a line with a lock, whatever
/// malloc puts beside it.
struct qs_lock;

struct qs_lock *qs_lock_create(void);
/// A word in the same line for the lock's user; 0 at first.
uintptr_t *qs_lock_word(struct qs_lock *lock);
void qs_lock_destroy(struct qs_lock *lock);
void qs_lock_acquire(struct qs_lock *lock);
void qs_lock_release(struct qs_lock *lock);
/// In a forked child: the lock is free, also when another thread of the parent had it.
void qs_lock_reset(struct qs_lock *lock);
