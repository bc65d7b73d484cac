// A lock that survives a fork and that the thread sanitizer sees: pthread's.
//
// Not the standard library's Mutex: it remembers the kernel's id of the owner, which a forked child has wrong: a thread
// that has to wait there takes the process down.
#pragma once

struct qs_lock;

struct qs_lock *qs_lock_create(void);
void qs_lock_destroy(struct qs_lock *lock);
void qs_lock_acquire(struct qs_lock *lock);
void qs_lock_release(struct qs_lock *lock);
/// In a forked child: nobody has it, whoever had it in the parent.
void qs_lock_reset(struct qs_lock *lock);
