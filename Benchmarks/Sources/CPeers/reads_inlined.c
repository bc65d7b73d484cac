#define _LGPL_SOURCE
#include <stdlib.h>
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

#include "read_loop.h"

// Repeats liburcu's declarations to add the TLS model that a program of its own would get: SwiftPM compiles C
// position-independent, and without it each read would ask __tls_get_addr for the address.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_reader urcu_mb_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_bp_reader *urcu_bp_reader __attribute__((tls_model("initial-exec")));
extern __thread struct urcu_qsbr_reader urcu_qsbr_reader __attribute__((tls_model("initial-exec")));

struct peer_cell *peer_cell_make(uint64_t number) {
  struct peer_cell *cell = malloc(sizeof *cell);
  struct peer_item *item = malloc(sizeof *item);
  if (cell == NULL || item == NULL) abort();
  item->number = number;
  cell->item = item;
  return cell;
}

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

uint64_t peer_read_plain(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, (void)0, __atomic_load_n(&cell->item, __ATOMIC_ACQUIRE), (void)0)
}

static uint64_t memb(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_memb_read_lock(), rcu_dereference(cell->item), urcu_memb_read_unlock())
}

uint64_t peer_read_memb(const struct peer_cell *cell, int place, uint64_t count) {
  urcu_memb_register_thread();
  uint64_t sum = memb(cell, place, count);
  urcu_memb_unregister_thread();
  return sum;
}

static uint64_t mb(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_mb_read_lock(), rcu_dereference(cell->item), urcu_mb_read_unlock())
}

uint64_t peer_read_mb(const struct peer_cell *cell, int place, uint64_t count) {
  urcu_mb_register_thread();
  uint64_t sum = mb(cell, place, count);
  urcu_mb_unregister_thread();
  return sum;
}

uint64_t peer_read_bp(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_bp_read_lock(), rcu_dereference(cell->item), urcu_bp_read_unlock())
}

static uint64_t qsbr(const struct peer_cell *cell, int place, uint64_t count) {
  PEER_READ_LOOP(place, urcu_qsbr_read_lock(), rcu_dereference(cell->item), urcu_qsbr_read_unlock())
}

uint64_t peer_read_qsbr(const struct peer_cell *cell, int place, uint64_t count) {
  urcu_qsbr_register_thread();
  uint64_t sum = qsbr(cell, place, count);
  urcu_qsbr_unregister_thread();
  return sum;
}
