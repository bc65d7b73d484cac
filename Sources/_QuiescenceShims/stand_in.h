// Replacements for functions of the Swift runtime, under the same names, in builds for the thread
// sanitizer: the runtime is not instrumented, so the sanitizer does not see what it does.
//
// A replacement announces its effect and calls the runtime's function. If a later runtime uses
// other names, the replacement is never called, and the sanitizer sees what it would see without
// it.
#pragma once
#define _GNU_SOURCE
#include "order.h"

#if QS_ANNOUNCES && defined(__linux__)
#define QS_STANDS_IN 1

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
/// The method's `self`, for types that are always passed by address.
#define SELF __attribute__((swift_context)) void *self
/// Weak, for a program that links the standard library statically: then the library's own functions
/// are used.
#define STANDS_IN_FOR(name) __asm__(name) __attribute__((weak, visibility("default"), noinline))

/// The runtime's own function.
static inline void *runtimes_own(const char *name, void **cache) {
  void *function = __atomic_load_n(cache, __ATOMIC_RELAXED);
  if (function != NULL) return function;
  function = dlsym(RTLD_NEXT, name);
  if (function == NULL) abort();
  __atomic_store_n(cache, function, __ATOMIC_RELAXED);
  return function;
}
#endif
