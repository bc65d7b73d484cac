#define _LGPL_SOURCE
#include <stdlib.h>
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

#include "peer.h"
#include "peer_urcu.h"

extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_reader urcu_mb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_bp_reader *urcu_bp_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_qsbr_reader urcu_qsbr_reader __attribute__((tls_model("initial-exec")));

struct peer_run {
  int stop;
  int *pointer;
};

struct peer_run *peer_run_make(void) {
  struct peer_run *run = calloc(1, sizeof *run);
  if (run == NULL) abort();
  return run;
}

void peer_run_stop(struct peer_run *run) { __atomic_store_n(&run->stop, 1, __ATOMIC_RELEASE); }

void peer_run_free(struct peer_run *run) {
  free(run->pointer);
  free(run);
}

static inline int goes_on(struct peer_run *run) { return !__atomic_load_n(&run->stop, __ATOMIC_ACQUIRE); }

#define LOOPS(flavor)                                                             \
  static uint64_t flavor##_test_read(struct peer_run *run) {                      \
    uint64_t count = 0;                                                           \
    int wrong = 0;                                                                \
    urcu_##flavor##_register_thread();                                            \
    do {                                                                          \
      urcu_##flavor##_read_lock();                                                \
      int *pointer = rcu_dereference(run->pointer);                               \
      if (pointer != NULL) wrong |= *pointer != 8;                                \
      urcu_##flavor##_read_unlock();                                              \
      count++;                                                                    \
      /* test_urcu_qsbr's: every 1024 reads. */                                   \
      if ((count & 1023) == 0) urcu_##flavor##_quiescent_state();                 \
    } while (goes_on(run));                                                       \
    urcu_##flavor##_unregister_thread();                                          \
    return wrong ? 0 : count;                                                     \
  }                                                                               \
  static uint64_t flavor##_test_write(struct peer_run *run) {                     \
    uint64_t count = 0;                                                           \
    do {                                                                          \
      int *new = malloc(sizeof *new);                                             \
      if (new == NULL) abort();                                                   \
      *new = 8;                                                                   \
      int *old = rcu_xchg_pointer(&run->pointer, new);                            \
      urcu_##flavor##_synchronize_rcu();                                          \
      if (old != NULL) *old = 0;                                                  \
      free(old);                                                                  \
      count++;                                                                    \
    } while (goes_on(run));                                                       \
    return count;                                                                 \
  }                                                                               \
  static uint64_t flavor##_perf_read(struct peer_run *run) {                      \
    uint64_t count = 0;                                                           \
    urcu_##flavor##_register_thread();                                            \
    do {                                                                          \
      for (int i = 0; i < 1000; i++) {                                            \
        urcu_##flavor##_read_lock();                                              \
        /* Not in the original, whose loop the compiler removes under QSBR. */    \
        count += peer_opaque(1);                                                  \
        urcu_##flavor##_read_unlock();                                            \
      }                                                                           \
      urcu_##flavor##_quiescent_state();                                          \
    } while (goes_on(run));                                                       \
    urcu_##flavor##_unregister_thread();                                          \
    return count;                                                                 \
  }                                                                               \
  static uint64_t flavor##_perf_update(struct peer_run *run) {                    \
    uint64_t count = 0;                                                           \
    do {                                                                          \
      urcu_##flavor##_synchronize_rcu();                                          \
      count++;                                                                    \
    } while (goes_on(run));                                                       \
    return count;                                                                 \
  }

// Only qsbr has quiescent states.
#define urcu_memb_quiescent_state() ((void)0)
#define urcu_mb_quiescent_state() ((void)0)
#define urcu_bp_quiescent_state() ((void)0)

LOOPS(memb)
LOOPS(mb)
LOOPS(bp)
LOOPS(qsbr)

#define BY_FLAVOR(what)                                                           \
  switch (flavor) {                                                               \
    case PEER_MEMB: return memb_##what(run);                                      \
    case PEER_MB: return mb_##what(run);                                          \
    case PEER_BP: return bp_##what(run);                                          \
    default: return qsbr_##what(run);                                             \
  }

uint64_t peer_test_read(struct peer_run *run, enum peer_flavor flavor) { BY_FLAVOR(test_read) }
uint64_t peer_test_write(struct peer_run *run, enum peer_flavor flavor) { BY_FLAVOR(test_write) }
uint64_t peer_perf_read(struct peer_run *run, enum peer_flavor flavor) { BY_FLAVOR(perf_read) }
uint64_t peer_perf_update(struct peer_run *run, enum peer_flavor flavor) { BY_FLAVOR(perf_update) }
