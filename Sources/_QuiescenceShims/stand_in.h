// Functions that stand in for the Swift runtime's, under the same names, in builds for the thread sanitizer: the runtime
// is not compiled for it, and what it does goes unseen.
//
// A stand-in announces and calls the runtime's own. When a later runtime has other names, it is never called, and the
// sanitizer knows as much as without it.
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
/// Weak, for a program that links the standard library statically: the library's own win.
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
