// DPDK's quiescent-state library, if it is installed. It needs neither DPDK's environment nor huge
// pages.
#include "peer.h"

#ifndef PEER_DPDK
const struct peer peer_rte_qsbr = {
    .name = "rte_rcu_qsbr, C", .missing = "DPDK is not installed (Debian: libdpdk-dev)"};
#else

#include <rte_config.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>

#include "read_loop.h"

/// The largest number of readers of a cell, as bits of a word.
enum { THREADS = 64 };

struct rte_cell {
  struct rte_rcu_qsbr *variable;
  struct peer_item *item;
  uint64_t taken;
};

static __thread unsigned rte_thread;

static struct peer_item *item_make(uint64_t number) {
  struct peer_item *item = malloc(sizeof *item);
  if (item == NULL) abort();
  item->number = number;
  return item;
}

static void *rte_make(uint64_t number) {
  struct rte_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) abort();
  cell->variable = aligned_alloc(RTE_CACHE_LINE_SIZE, rte_rcu_qsbr_get_memsize(THREADS));
  if (cell->variable == NULL || rte_rcu_qsbr_init(cell->variable, THREADS) != 0) abort();
  cell->item = item_make(number);
  cell->taken = 0;
  return cell;
}

static void rte_begin(void *opaque) {
  struct rte_cell *cell = opaque;
  uint64_t taken = __atomic_load_n(&cell->taken, __ATOMIC_RELAXED);
  do {
    if (taken == UINT64_MAX) abort();
    rte_thread = (unsigned)__builtin_ctzll(~taken);
  } while (!__atomic_compare_exchange_n(
      &cell->taken, &taken, taken | UINT64_C(1) << rte_thread, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  rte_rcu_qsbr_thread_register(cell->variable, rte_thread);
  rte_rcu_qsbr_thread_online(cell->variable, rte_thread);
}

static void rte_end(void *opaque) {
  struct rte_cell *cell = opaque;
  rte_rcu_qsbr_thread_offline(cell->variable, rte_thread);
  rte_rcu_qsbr_thread_unregister(cell->variable, rte_thread);
  __atomic_fetch_and(&cell->taken, ~(UINT64_C(1) << rte_thread), __ATOMIC_ACQ_REL);
}

static void rte_rest(void *opaque) {
  struct rte_cell *cell = opaque;
  rte_rcu_qsbr_thread_offline(cell->variable, rte_thread);
}

static void rte_wake(void *opaque) {
  struct rte_cell *cell = opaque;
  rte_rcu_qsbr_thread_online(cell->variable, rte_thread);
}

PEER_LOOPS(
    rte, struct rte_cell, rte_rcu_qsbr_lock(cell->variable, rte_thread),
    __atomic_load_n(&cell->item, __ATOMIC_ACQUIRE), rte_rcu_qsbr_unlock(cell->variable, rte_thread))

static uint64_t rte_read_and_tell(void *opaque, int place, uint64_t count) {
  struct rte_cell *cell = opaque;
  uint64_t sum = rte_read(cell, place, count);
  rte_rcu_qsbr_quiescent(cell->variable, rte_thread);
  return sum;
}

static uint64_t rte_work_and_tell(void *opaque, uint64_t length, uint64_t count) {
  struct rte_cell *cell = opaque;
  uint64_t sum = rte_work(cell, length, count);
  rte_rcu_qsbr_quiescent(cell->variable, rte_thread);
  return sum;
}

static void rte_synchronize(void *opaque) {
  struct rte_cell *cell = opaque;
  rte_rcu_qsbr_synchronize(cell->variable, rte_thread);
}

// DPDK's queue of deferred frees needs its memory manager, so the writer waits for a grace period.
static void rte_update(void *opaque, uint64_t number) {
  struct rte_cell *cell = opaque;
  struct peer_item *old = __atomic_exchange_n(&cell->item, item_make(number), __ATOMIC_ACQ_REL);
  rte_synchronize(cell);
  free(old);
}

const struct peer peer_rte_qsbr = {
    .name = "rte_rcu_qsbr, C", .update_spins = true, .make = rte_make, .begin = rte_begin, .end = rte_end, .rest = rte_rest,
    .wake = rte_wake, .read = rte_read_and_tell,
    .work = rte_work_and_tell, .update = rte_update, .synchronize = rte_synchronize};
#endif
