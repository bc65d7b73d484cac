// One of the hundred modules that the experiment `unload` unloads together. The copies differ in
// their names.
#include <stdint.h>
#include <stdlib.h>

#include "quiescent_module.h"

static const struct quiescent_host *host;
static struct quiescent_self *self;

static int hook(void *argument, void *context) {
  (void)context;
  // Takes a reference, so that the unload must wait until the last thread that released one has
  // returned from here.
  if (host->acquire(self) == 0) host->release(self);
  *(uint64_t *)argument += 1;
  return QUIESCENT_ACCEPT;
}

static int start(const struct quiescent_host *h, struct quiescent_self *s) {
  host = h;
  self = s;
  return h->register_hook(s, "traffic", "count.1", 0, hook, NULL);
}

// Retires something, so that the unload must wait for its callback.
static int leave(void) { return host->retire(self, free, malloc(16)); }

QUIESCENT_MODULE(.name = "crowd-000", .init = start, .exit = leave)
