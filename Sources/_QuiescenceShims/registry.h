// The library's own list of readers. liburcu keeps one for each flavor, which nobody else can walk: this one says who
// holds up a grace period, and tells a forked child which threads it does not have.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "qs_registry.h"
#include "trap.h"

/// One per thread, in thread-local memory; in the list from the first registration to the thread's end.
struct reader {
  struct reader *next;
  /// What points to this one; NULL while it is not in the list.
  struct reader **link;
  /// What the thread registered through us and has to leave at its end; for liburcu-bp, whether that is watched.
  bool registered[QS_FLAVORS];
  pid_t id;
  pthread_t thread;
  /// The thread's own `urcu_memb_reader` and so on; for liburcu-bp, of the pointer to it.
  void *words[QS_FLAVORS];
};

extern __thread struct reader qs_reader_self;

/// Says that the calling thread is a reader of the flavor.
void qs_registry_add(enum qs_flavor flavor);
/// Says that it is none any more.
void qs_registry_remove(enum qs_flavor flavor);

/// Around everything that changes the list, or liburcu's lists: a fork in between would leave the child with a lock
/// that nobody holds. Signals are blocked meanwhile, since a handler may be a reader.
void qs_registry_lock(void);
void qs_registry_unlock(void);

/// Runs `leave` when the calling thread ends: the thread leaves every flavor and gives its queues up.
void qs_leave_at_end(void);

/// Under the registry lock, at the end of a thread that has registered with the flavor. Traps inside a section.
void qs_memb_unregister(void);
void qs_mb_unregister(void);
void qs_bp_unregister(void);
void qs_qsbr_unregister(void);

/// Ends the calling thread's queues of retired values.
void qs_retire_queues_end(void);
