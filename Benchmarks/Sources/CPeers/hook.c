// In a file of its own, so that the compiler cannot inline it into callers.
#include "peer_hooks.h"

#include <stddef.h>

int peer_hook(void *argument, void *context) {
  (void)context;
  *(uint64_t *)argument += 1;
  return 0;
}
