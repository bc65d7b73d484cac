// What the host runs and keeps for a module: workers, deferred calls, timers, and storage for each
// thread. `quiescent_module.h` includes this file.
//
// A module that uses these starts no thread and no timer of its own, and has nothing to end in
// `exit`. An unload ends them after the last user of the module has gone, and before `exit`:
//
//  1. Timers stop, and `stop_requested` returns 1 from now on. New requests return -EBUSY.
//  2. Deferred calls that are waiting are made at once, also those whose time has not come: each is
//     made exactly once.
//  3. The unload waits until every worker and every call has returned. Then it calls `exit`.
//
// A refused unload has changed nothing. A forced one does step 1 for workers when it tells the
// users to go. Functions that run here are outside every section: they may block, and may give back
// the module's last reference. One that does not return holds up its own module alone.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct quiescent_self;

/// Storage with a block for each thread.
struct quiescent_thread_storage;

/// Waits forever in `stop_requested`.
#define QUIESCENT_FOREVER UINT64_MAX

/// The services of the host: `host->services`. Test with QUIESCENT_HOST_HAS(host, services) first.
/// Times are in nanoseconds. The last sentence of each comment says whether a hook may call the
/// function.
struct quiescent_services {
  uint32_t size;  ///< the host's sizeof(struct quiescent_services); later versions add fields

  /// Starts a thread that calls `function(argument)` once. The thread is called `name` (15 bytes of
  /// it). Signals are blocked in it, except those of failing instructions. The worker returns when
  /// it has nothing left to do, or after `stop_requested` has returned 1. Errors: -EBUSY, the
  /// module is being unloaded; -EAGAIN, there is no thread. Not inside a hook.
  int (*start_worker)(struct quiescent_self *self, const char *name, void (*function)(void *),
                      void *argument);

  /// Returns 1 if workers of the module are to return. Otherwise waits for that, but not longer
  /// than `wait`, and returns 0 after it. A worker that looks once in a period calls this in place
  /// of sleep:
  ///
  ///     while (!host->services->stop_requested(self, 1000000000)) look();
  ///
  /// Inside a hook: yes, with a `wait` of 0.
  int (*stop_requested)(struct quiescent_self *self, uint64_t wait);

  /// Calls `function(argument)` once, after `delay`, on a thread of the module that also runs its
  /// other deferred calls and its timers, one at a time. Calls with a delay of 0 are made in order.
  /// Errors: -EBUSY, the module is being unloaded; -EAGAIN, 65,536 calls are waiting, or there is
  /// no thread. Inside a hook: yes; takes a short lock, and the first call starts the thread.
  int (*defer)(struct quiescent_self *self, uint64_t delay, void (*function)(void *),
               void *argument);

  /// Calls `function(argument)` every `period`, the first time after one period, on the thread of
  /// `defer`. A call that was missed, since an earlier one took too long, is not made up for.
  /// Returns the timer, which is positive. Errors: -EINVAL, the period is 0; else as `defer`.
  /// Inside a hook: as `defer`.
  int64_t (*start_timer)(struct quiescent_self *self, uint64_t period, void (*function)(void *),
                         void *argument);

  /// Stops a timer: no call begins after the return, but one may still be running. -ENOENT if the
  /// module has no such timer, or has stopped it. A timer's function may stop its own timer. Inside
  /// a hook: yes; takes a short lock.
  int (*stop_timer)(struct quiescent_self *self, int64_t timer);

  /// Creates storage: a block of `size` bytes, which are 0 at first, for each thread that asks for
  /// one. Blocks are aligned to 64 bytes. The host frees storage and blocks after `exit`. NULL if
  /// there is no memory, the size is 0, or the module is being unloaded. Not inside a hook.
  struct quiescent_thread_storage *(*create_thread_storage)(struct quiescent_self *self, size_t size);

  /// The calling thread's block. When the thread ends, its block waits as it is for the next thread
  /// that asks: counters keep what was counted, and no code of the module runs at the end of a
  /// thread. NULL if there is no memory. Inside a hook: yes; a thread's first call allocates under
  /// a lock, others take none. Not in a signal handler.
  void *(*thread_block)(struct quiescent_thread_storage *storage);

  /// Calls `visit(block, context)` for every block, in no order. Owners may change their blocks
  /// meanwhile, so both sides use atomic accesses. `visit` must not ask for a block. Not inside a
  /// hook: it takes a lock.
  void (*visit_blocks)(struct quiescent_thread_storage *storage, void (*visit)(void *, void *),
                       void *context);
};

#ifdef __cplusplus
}
#endif
