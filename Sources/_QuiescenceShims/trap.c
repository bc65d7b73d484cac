// Traps: one line on standard error, then abort.
#define _GNU_SOURCE
#include "trap.h"

#include <stdio.h>
#include <stdlib.h>

#include "qs_thread.h"

void qs_trap(const char *line) {
  fprintf(stderr, "Fatal error: %s\n", line);
  abort();
}

void qs_unbalanced_cold(const char *flavor) {
  char line[160];
  snprintf(line, sizeof line, "%s.unsafeLeave() on a thread that is in no %s read-side critical section", flavor, flavor);
  qs_trap(line);
}
