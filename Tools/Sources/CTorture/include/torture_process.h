// A child by fork(2) from a process with many threads, and a wait for it that ends.
#pragma once

#include <sys/types.h>

/// Forks; the child calls `body` and exits with what it returns, without running anything at exit.
/// It is killed when the thread that forked it ends. Returns the child's number, or a negative
/// errno.
pid_t torture_fork(int (*body)(void *argument), void *argument);

/// Waits until the child has ended, for at most `milliseconds`, after which it is killed. Returns
/// its exit status, 128 and the signal that ended it, or -ETIMEDOUT.
int torture_wait(pid_t child, int milliseconds);
