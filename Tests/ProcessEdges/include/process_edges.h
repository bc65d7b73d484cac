// What the C library and the kernel offer and Swift cannot reach, for tests of a process's edges.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/// Installs a seccomp filter for all threads of the process that forbids membarrier(2): with EPERM,
/// or by killing the process. Returns 0 or an errno.
int forbid_membarrier(bool kills);

/// Runs a program under such a filter, in a child process; returns what waitpid says, or -1.
int run_without_membarrier(bool kills, const char *program, char *const arguments[]);

/// Takes the calling thread off the kernel's restartable sequences, and says that it runs on the
/// processor of this number. False where the thread was not registered.
bool leave_restartable_sequences(uint32_t processor);

/// Runs `body` on a new thread and waits until the kernel has removed it. With a key, in the key's
/// destructor, in the last of so many rounds, and `before` first in the thread's body.
void run_on_thread(void (*before)(void *), void (*body)(void *), void *argument, const pthread_key_t *key, int rounds);

/// So many keys, without a destructor, so that later ones are beyond those that a thread has room
/// for.
void use_up_keys(int count);

/// Makes a key for `run_on_thread`.
pthread_key_t make_destructor_key(void);

/// Calls `body` from a handler of SIGUSR1 on a thread that calls malloc and free all the time, and
/// never called `body` before; for so many threads, one after the other. Returns the index of the
/// first thread that did not come back from the handler within ten seconds, or -1.
int call_from_handlers(void (*body)(void), int threads);

/// Calls `body` while the system refuses every thread.
void call_without_threads(void (*body)(void *), void *argument);
