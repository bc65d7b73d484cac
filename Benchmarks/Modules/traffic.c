// The module that the experiments `hooks` and `unload` load. It only counts calls.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "quiescent_module.h"

// Also looked up by name, by the peer that does not use modules.
__attribute__((visibility("default"))) int traffic_hook(void *argument, void *context) {
  (void)context;
  *(uint64_t *)argument += 1;
  return QUIESCENT_ACCEPT;
}

/// Registers `count` hooks on the point of that name, if the host has it.
static int register_all(
    const struct quiescent_host *host, struct quiescent_self *self, const char *point, int count) {
  for (int i = 0; i < count; i++) {
    int error = host->register_hook(self, point, "count.1", 0, traffic_hook, NULL);
    if (error == -ENOENT) return 0;
    if (error != 0) return error;
  }
  return 0;
}

static int start(const struct quiescent_host *host, struct quiescent_self *self) {
  int error = register_all(host, self, "traffic", 1);
  for (int count = 1; count <= 16 && error == 0; count *= 2) {
    char point[32];
    snprintf(point, sizeof point, "hooks.%d", count);
    error = register_all(host, self, point, count);
    if (error != 0) break;
    snprintf(point, sizeof point, "online-hooks.%d", count);
    error = register_all(host, self, point, count);
  }
  return error;
}

static int leave(void) { return 0; }

QUIESCENT_MODULE(.name = "traffic", .version = "1.0", .description = "Counts calls.", .init = start, .exit = leave)
