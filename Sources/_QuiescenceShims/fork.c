#include <pthread.h>

#include "qs_registry.h"
#include "trap.h"

static uint32_t generation;

uint32_t qs_fork_generation(void) { return generation; }

// In the child, which has one thread.
static void count_fork(void) { generation++; }

// At the start, and not with the first grace period: a task may wait for a counter alone. First of
// the handlers in the child, so that none of the others resumes a task of the parent.
__attribute__((constructor(101))) static void start(void) {
  if (pthread_atfork(NULL, NULL, count_fork) != 0) qs_trap("no memory to watch for forks");
}

void qs_fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void)) {
  if (pthread_atfork(before, parent, child) != 0) qs_trap("no memory to watch for forks");
}
