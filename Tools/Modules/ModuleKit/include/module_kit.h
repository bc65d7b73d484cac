// The part of ModuleKit that is in C: the module's entry, and what Swift code calls of the host.
//
// A module in Swift has a file in C beside it, which declares it:
//
//     #include "module_kit.h"
//
//     SWIFT_MODULE(.name = "ratelimit", .version = "1.0")
#pragma once

#include <stdint.h>
#include <time.h>

#include "quiescent_module.h"

/// Defines the exported symbol. The arguments are designated initializers of `struct
/// quiescent_module`, without `init`, `exit` and `flags`.
#define SWIFT_MODULE(...)                                                        \
  QUIESCENT_MODULE(.init = module_kit_init, .exit = module_kit_exit,             \
                   .flags = QUIESCENT_EXIT_AFTER_FAILED_INIT, __VA_ARGS__)

/// Defines a parameter, a number, that Swift code reads as `variable_value()` while the host may
/// write it. In a header that the module's Swift and C files share.
#define SWIFT_PARAMETER(type, variable)                             \
  extern type variable;                                             \
  static inline type variable##_value(void) {                       \
    return __atomic_load_n(&variable, __ATOMIC_RELAXED);            \
  }

int module_kit_init(const struct quiescent_host *host, struct quiescent_self *self);
int module_kit_exit(void);

// The module has these, in Swift. `module_stop` is called after a `module_start` that has failed as
// well, when no hook runs any more.
int module_start(void);
int module_stop(void);

// ModuleKit has this, in Swift: frees what the hooks were registered with.
void module_kit_free_hooks(void);

int module_kit_register(const char *point, const char *argument_type, int priority, quiescent_hook hook,
                        void *context);
int module_kit_acquire(void);
void module_kit_release(void);
int module_kit_retire(void (*function)(void *), void *argument);
void module_kit_log(const char *line);

/// Nanoseconds of a clock that is never set.
static inline uint64_t module_kit_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
