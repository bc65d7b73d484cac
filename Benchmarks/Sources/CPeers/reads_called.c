// Without _LGPL_SOURCE, liburcu's sections are calls into its shared library.
#undef _LGPL_SOURCE
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>

#include "liburcu_cell.h"
#include "read_loop.h"

PEER_LOOPS(
    memb, struct peer_cell, urcu_memb_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME),
    urcu_memb_read_unlock())
PEER_LOOPS(
    mb, struct peer_cell, urcu_mb_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME), urcu_mb_read_unlock())
PEER_LOOPS(
    bp, struct peer_cell, urcu_bp_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME), urcu_bp_read_unlock())

PEER_WRITES(memb)
PEER_WRITES(mb)
PEER_WRITES(bp)

const struct peer peer_memb_called = PEER_FLAVOR(memb, "memb, C called", memb);
const struct peer peer_mb_called = PEER_FLAVOR(mb, "mb, C called", mb);
const struct peer peer_bp_called = PEER_FLAVOR(bp, "bp, C called", bp);
