// The module that `quiesce schemes` measures with: a hook that does nothing, or acquires and
// releases a given number of references.
#include "quiescent_module.h"

// The same layout as `Probe` in the tool.
struct probe {
  long pairs;
  long failed;
};

static const struct quiescent_host *host;
static struct quiescent_self *self;

static int hook(void *argument, void *context) {
  (void)context;
  struct probe *probe = argument;
  for (long i = 0; i < probe->pairs; i++) {
    if (host->acquire(self) == 0)
      host->release(self);
    else
      probe->failed += 1;
  }
  return QUIESCENT_ACCEPT;
}

static int start(const struct quiescent_host *h, struct quiescent_self *s) {
  host = h;
  self = s;
  return host->register_hook(self, "probe", "quiesce.probe.1", 0, hook, NULL);
}

static int leave(void) { return 0; }

QUIESCENT_MODULE(.name = "probe", .version = "1.0", .description = "Measures what a reference and a call cost.",
                 .init = start, .exit = leave)
