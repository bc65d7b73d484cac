// The library's own list of readers. liburcu keeps one for each flavor, which only liburcu can
// walk: this one tells which threads hold up a grace period, and tells a forked child which threads
// it does not have.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "qs_registry.h"
#include "trap.h"

/// A registered thread, in memory that outlives it: a thread that registers with liburcu-bp may end
/// without a further word to this library, and the list must not lead into its stack.
struct reader {
  struct reader *next;
  /// What points to this one.
  struct reader **link;
  /// What the thread registered with through us.
  bool registered[QS_FLAVORS];
  pid_t id;
  /// Where liburcu keeps what the thread does: its `urcu_memb_reader` and so on; for liburcu-bp, in
  /// memory of its own.
  void *words[QS_FLAVORS];
};

/// What the registry remembers of each thread. Initial-exec: an address found without a call, since
/// a handler may register.
struct reader_self {
  /// In the list; NULL while the thread is registered with no flavor.
  struct reader *reader;
  /// What the thread registered with through us, and has to leave at its end.
  bool registered[QS_FLAVORS];
  /// `leave` has run: nothing may run any more before the thread is gone, so the thread registers
  /// for one section at a time. See leave.c.
  bool is_ending;
};

extern __thread struct reader_self qs_reader_self __attribute__((tls_model("initial-exec")));

/// Enters the calling thread, which liburcu has registered, as a reader of the flavor.
void qs_registry_add(enum qs_flavor flavor);
/// Takes the calling thread off the list as a reader of the flavor.
void qs_registry_remove(enum qs_flavor flavor);

/// Around everything that changes the list, or liburcu's lists: a fork in between would leave the
/// child with a lock that no thread releases. Signals are blocked meanwhile, since a handler may be
/// a reader.
void qs_registry_lock(void);
void qs_registry_unlock(void);

/// In a child that was forked during a grace period of the flavor: liburcu's lock may be taken for
/// good, and no grace period runs here any more. So threads read without liburcu.
bool qs_registry_is_lost(enum qs_flavor flavor);

/// Runs `leave` when the calling thread ends: the thread leaves every flavor and gives its queues
/// up. May allocate.
void qs_leave_at_end(void);
/// The same without allocating: for a signal handler that may have interrupted malloc. See leave.c
/// for what it leaves out.
void qs_leave_at_end_from_handler(void);

/// Under the registry lock, at the end of a thread that has registered with the flavor. Traps
/// inside a section.
void qs_memb_unregister(void);
void qs_mb_unregister(void);
void qs_bp_unregister(void);
void qs_qsbr_unregister(void);

/// Ends the calling thread's queues of retired values.
void qs_retire_queues_end(void);
