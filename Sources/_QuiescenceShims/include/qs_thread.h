// What the library remembers of each thread, and the threads that it starts itself.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "qs_registry.h"
#include "qs_yields.h"

#if defined(__cplusplus)
#error "the shims are C"
#endif

/// A section of a sleepable domain that the thread cannot suspend in: on its stack, for the time of
/// the section.
struct qs_sleepable_frame {
  const void *domain;
  struct qs_sleepable_frame *outer;
};

/// One per thread. Initial-exec: a plain segment-relative access, never a call to find the address.
struct qs_thread {
  /// The thread registered itself with liburcu-memb through us, and enters inline from now on.
  bool memb_registered;
  /// The same for liburcu-mb.
  bool mb_registered;
  /// The thread reads under liburcu-bp, and the end of the thread is watched.
  bool bp_registered;
  /// The thread runs a reclaimer's callbacks: waiting for that reclaimer would wait for itself.
  bool reclaims;
  /// The callbacks that the thread runs now; NULL when it runs none. An object of the library.
  void *callback_run;
  /// The thread's queue for each flavor's own reclaimer; NULL until its first retire.
  void *retire_queues[QS_FLAVORS];
  /// The same for other reclaimers, by their place behind the flavors'.
  void **more_queues;
  uint32_t more_capacity;
  /// Depth of nested QSBR sections that forbid a quiescent state, QS_QSBR_ONLINE and
  /// QS_QSBR_UNSCOPED.
  uint32_t qsbr_word;
  /// The innermost of the sections of sleepable domains that the thread cannot suspend in.
  struct qs_sleepable_frame *sleepable;
  /// Closures of updates that the thread is inside of: other writers wait for the box of each.
  uint32_t writer_turns;
  /// By flavor: how often the thread has given its processor up for the grace period that waits
  /// now.
  struct qs_yields yields[QS_FLAVORS];
  /// How often the thread has woken a grace period and how often it has yielded for one:
  /// never one of liburcu-bp, which polls. For tests: thread-local counts cost nothing that another
  /// thread could notice.
  uint64_t wakes, yielded;
};

extern __thread struct qs_thread qs_thread __attribute__((tls_model("initial-exec")));

/// Registers the calling thread with the flavor, and sees to it that it leaves when it ends.
/// Cold: once a thread, but under the thread sanitizer: see qs_sanitizer.h.
void qs_memb_enter_cold(void) __attribute__((cold, noinline));
void qs_mb_enter_cold(void) __attribute__((cold, noinline));
void qs_bp_enter_cold(void) __attribute__((cold, noinline));

/// Leaves the innermost section out of line: see qs_sanitizer.h.
void qs_memb_leave_cold(void) __attribute__((cold, noinline));
void qs_mb_leave_cold(void) __attribute__((cold, noinline));
void qs_bp_leave_cold(void) __attribute__((cold, noinline));

/// Traps: the thread is in no section that it could leave.
void qs_unbalanced_cold(const char *flavor) __attribute__((cold, noinline, noreturn));

static inline struct qs_sleepable_frame *qs_sleepable_innermost(void) { return qs_thread.sleepable; }
static inline void qs_sleepable_set_innermost(struct qs_sleepable_frame *frame) { qs_thread.sleepable = frame; }

/// How often the calling thread has woken a grace period; never one of liburcu-bp, which polls.
static inline uint64_t qs_thread_wakes(void) { return qs_thread.wakes; }
/// How often the calling thread has yielded for a grace period; never for one of liburcu-bp.
static inline uint64_t qs_thread_yielded(void) { return qs_thread.yielded; }

static inline bool qs_thread_reclaims(void) { return qs_thread.reclaims; }
static inline void qs_thread_set_reclaims(bool value) { qs_thread.reclaims = value; }

static inline void *qs_thread_callback_run(void) { return qs_thread.callback_run; }
static inline void qs_thread_set_callback_run(void *run) { qs_thread.callback_run = run; }

static inline bool qs_thread_is_writing(void) { return qs_thread.writer_turns != 0; }
static inline void qs_thread_begin_writing(void) { qs_thread.writer_turns++; }
static inline void qs_thread_end_writing(void) { qs_thread.writer_turns--; }

/// The calling thread has queues at places below this number only.
static inline uint32_t qs_thread_retire_places(void) { return QS_FLAVORS + qs_thread.more_capacity; }

/// The calling thread's queue for the reclaimer at `place`: below QS_FLAVORS that of a flavor.
static inline void *qs_thread_retire_queue(uint32_t place) {
  if (place < QS_FLAVORS) return qs_thread.retire_queues[place];
  place -= QS_FLAVORS;
  return place < qs_thread.more_capacity ? qs_thread.more_queues[place] : NULL;
}

/// Sets the calling thread's queue, and sees to it that `end` is called with it when the thread
/// ends. `end` is the same for all.
void qs_thread_set_retire_queue(uint32_t place, void *queue, void (*end)(void *queue));

/// Starts a detached thread with every signal blocked. `name` is cut to the kernel's 15 bytes.
/// Returns 0 or an errno.
int qs_thread_start(const char *name, void (*body)(void *), void *argument);

/// The kernel's id of the calling thread.
pid_t qs_thread_id(void);
