#define _LGPL_SOURCE
#define _GNU_SOURCE
#include "peer_hooks.h"

#include <pthread.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

#include "peer.h"
#include "peer_place.h"

extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

struct entry {
  peer_hook call;
  void *context;
};

struct table {
  uint64_t count;
  struct entry entries[];
};

struct peer_hooks {
  struct table *table;
  pthread_rwlock_t lock;
};

struct peer_hooks *peer_hooks_make(uint64_t count, peer_hook hook) {
  struct peer_hooks *hooks = malloc(sizeof *hooks);
  struct table *table = malloc(sizeof *table + count * sizeof table->entries[0]);
  if (hooks == NULL || table == NULL) abort();
  table->count = count;
  for (uint64_t i = 0; i < count; i++) table->entries[i] = (struct entry){.call = hook};
  hooks->table = table;
  pthread_rwlock_init(&hooks->lock, NULL);
  return hooks;
}

/// The same round as in Swift: until one hook does not accept.
static inline int round_of(const struct table *table, void *argument) {
  for (uint64_t i = 0; i < table->count; i++) {
    int verdict = table->entries[i].call(argument, table->entries[i].context);
    if (verdict != 0) return verdict;
  }
  return 0;
}

// At one of PEER_PLACES, like the reading loops.
#define ROUNDS(place, enter, load, leave)        \
  ({                                             \
    uint64_t sum = 0;                            \
    place();                                     \
    for (uint64_t i = 0; i < rounds; i++) {      \
      uint64_t called = peer_opaque(1);          \
      enter;                                     \
      round_of(load, &called);                   \
      leave;                                     \
      sum += called;                             \
    }                                            \
    sum;                                         \
  })

#define DISPATCH(enter, load, leave)                             \
  switch (place) {                                               \
    case 0: return ROUNDS(peer_place_0, enter, load, leave);     \
    case 1: return ROUNDS(peer_place_16, enter, load, leave);    \
    case 2: return ROUNDS(peer_place_32, enter, load, leave);    \
    default: return ROUNDS(peer_place_48, enter, load, leave);   \
  }

uint64_t peer_dispatch_plain(struct peer_hooks *hooks, int place, uint64_t rounds) {
  DISPATCH((void)0, __atomic_load_n(&hooks->table, __ATOMIC_ACQUIRE), (void)0)
}

static uint64_t dispatch_memb(struct peer_hooks *hooks, int place, uint64_t rounds) {
  DISPATCH(urcu_memb_read_lock(), rcu_dereference(hooks->table), urcu_memb_read_unlock())
}

uint64_t peer_dispatch_memb(struct peer_hooks *hooks, int place, uint64_t rounds) {
  urcu_memb_register_thread();
  uint64_t called = dispatch_memb(hooks, place, rounds);
  urcu_memb_unregister_thread();
  return called;
}

uint64_t peer_dispatch_rwlock(struct peer_hooks *hooks, int place, uint64_t rounds) {
  DISPATCH(pthread_rwlock_rdlock(&hooks->lock), hooks->table, pthread_rwlock_unlock(&hooks->lock))
}
