// liburcu-qsbr: a thread is a reader from going online to going offline, and says itself when it
// holds nothing. Reads cost nothing.
#pragma once

#include "qs_liburcu.h"
#include "qs_thread.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
// See qs_memb.h for why this declaration is repeated.
extern __thread struct urcu_qsbr_reader urcu_qsbr_reader __attribute__((tls_model("initial-exec")));
#endif

/// Whether the calling thread is online.
static inline bool qs_qsbr_is_online(void) { return urcu_qsbr_read_ongoing() != 0; }

/// Registers the thread when needed and brings it online.
static inline void qs_qsbr_go_online(void) {
  if (__builtin_expect(!qs_thread.qsbr_registered, 0))
    qs_qsbr_register_cold();
  else
    urcu_qsbr_thread_online();
}

static inline void qs_qsbr_go_offline(void) { urcu_qsbr_thread_offline(); }

/// Says that the calling thread holds no reference. A load and a compare when no grace period waits.
static inline void qs_qsbr_quiescent_state(void) { urcu_qsbr_quiescent_state(); }

static inline uint32_t qs_qsbr_depth(void) { return qs_thread.qsbr_depth; }
static inline void qs_qsbr_nest(void) { qs_thread.qsbr_depth += 1; }
static inline void qs_qsbr_unnest(void) { qs_thread.qsbr_depth -= 1; }

/// Waits until every thread that is online now has passed a quiescent state or gone offline.
static inline void qs_qsbr_synchronize(void) { urcu_qsbr_synchronize_rcu(); }
