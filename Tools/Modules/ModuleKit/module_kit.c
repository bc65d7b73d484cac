#include "module_kit.h"

// Set once, before any Swift code of this image runs.
static const struct quiescent_host *host;
static struct quiescent_self *self;

int module_kit_init(const struct quiescent_host *h, struct quiescent_self *s) {
  host = h;
  self = s;
  return module_start();
}

// The host has unregistered the hooks, and every call has returned.
int module_kit_exit(void) {
  int error = module_stop();
  if (error == 0) module_kit_free_hooks();
  return error;
}

int module_kit_register(const char *point, const char *argument_type, int priority, quiescent_hook hook,
                        void *context) {
  return host->register_hook(self, point, argument_type, priority, hook, context);
}

int module_kit_acquire(void) { return host->acquire(self); }
void module_kit_release(void) { host->release(self); }
int module_kit_retire(void (*function)(void *), void *argument) {
  return host->retire(self, function, argument);
}
void module_kit_log(const char *line) { host->log(self, line); }
