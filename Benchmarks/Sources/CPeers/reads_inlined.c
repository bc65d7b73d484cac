#define _LGPL_SOURCE
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

#include "liburcu_cell.h"
#include "read_loop.h"

// Repeats liburcu's declarations with the TLS model that an ordinary program would use: SwiftPM
// compiles C position-independent, and without this every read would call __tls_get_addr.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_reader urcu_mb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_bp_reader *urcu_bp_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_qsbr_reader urcu_qsbr_reader __attribute__((tls_model("initial-exec")));

#define FLOOR(place)                                                  \
  ({                                                                  \
    uint64_t sum = 0;                                                 \
    place();                                                          \
    for (uint64_t i = 0; i < count; i++) sum += peer_opaque(1);       \
    sum;                                                              \
  })

uint64_t peer_floor(int place, uint64_t count) {
  switch (place) {
    case 0: return FLOOR(peer_place_0);
    case 1: return FLOOR(peer_place_16);
    case 2: return FLOOR(peer_place_32);
    default: return FLOOR(peer_place_48);
  }
}

PEER_LOOPS(plain, struct peer_cell, (void)0, __atomic_load_n(&cell->item, __ATOMIC_ACQUIRE), (void)0)

const struct peer peer_plain = {
    .name = "plain load, C", .make = peer_cell_make, .read = plain_read, .work = plain_work};

PEER_LOOPS(memb, struct peer_cell, urcu_memb_read_lock(), rcu_dereference(cell->item), urcu_memb_read_unlock())
PEER_LOOPS(mb, struct peer_cell, urcu_mb_read_lock(), rcu_dereference(cell->item), urcu_mb_read_unlock())
PEER_LOOPS(bp, struct peer_cell, urcu_bp_read_lock(), rcu_dereference(cell->item), urcu_bp_read_unlock())
PEER_LOOPS(qsbr, struct peer_cell, urcu_qsbr_read_lock(), rcu_dereference(cell->item), urcu_qsbr_read_unlock())

static uint64_t qsbr_read_and_tell(void *cell, int place, uint64_t count) {
  uint64_t sum = qsbr_read(cell, place, count);
  urcu_qsbr_quiescent_state();
  return sum;
}

static uint64_t qsbr_work_and_tell(void *cell, uint64_t length, uint64_t count) {
  uint64_t sum = qsbr_work(cell, length, count);
  urcu_qsbr_quiescent_state();
  return sum;
}

static void qsbr_rest(void *cell) { (void)cell; urcu_qsbr_thread_offline(); }
static void qsbr_wake(void *cell) { (void)cell; urcu_qsbr_thread_online(); }

PEER_WRITES(memb)
PEER_WRITES(mb)
PEER_WRITES(bp)
PEER_WRITES(qsbr)

const struct peer peer_memb = PEER_FLAVOR(memb, "memb, C inlined", memb);
const struct peer peer_mb = PEER_FLAVOR(mb, "mb, C inlined", mb);
const struct peer peer_bp = PEER_FLAVOR(bp, "bp, C inlined", bp);
const struct peer peer_qsbr = {
    .name = "qsbr, C inlined", .make = peer_cell_make, .begin = qsbr_begin, .end = qsbr_end, .rest = qsbr_rest,
    .wake = qsbr_wake, .read = qsbr_read_and_tell, .work = qsbr_work_and_tell, .update = qsbr_update,
    .synchronize = qsbr_synchronize, .drain = qsbr_drain};
