#include <pthread.h>

#include "qs_registry.h"
#include "trap.h"

void qs_fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void)) {
  if (pthread_atfork(before, parent, child) != 0) qs_trap("no memory to watch for forks");
}
