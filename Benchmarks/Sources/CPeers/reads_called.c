// Without _LGPL_SOURCE: liburcu's sections are calls into its shared library.
#undef _LGPL_SOURCE
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>

#include "read_loop.h"

static uint64_t memb(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(
      place, urcu_memb_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME), urcu_memb_read_unlock())
}

uint64_t peer_read_memb_called(const struct peer_cell *cell, int place, uint64_t count) {
  urcu_memb_register_thread();
  uint64_t sum = memb(cell, place, count);
  urcu_memb_unregister_thread();
  return sum;
}

static uint64_t mb(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_mb_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME), urcu_mb_read_unlock())
}

uint64_t peer_read_mb_called(const struct peer_cell *cell, int place, uint64_t count) {
  urcu_mb_register_thread();
  uint64_t sum = mb(cell, place, count);
  urcu_mb_unregister_thread();
  return sum;
}

uint64_t peer_read_bp_called(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_bp_read_lock(), __atomic_load_n(&cell->item, __ATOMIC_CONSUME), urcu_bp_read_unlock())
}
