#define _LGPL_SOURCE
#include <semaphore.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

#include "peer_grace_periods.h"

void peer_memb_register(void) { urcu_memb_register_thread(); }
void peer_memb_unregister(void) { urcu_memb_unregister_thread(); }
void peer_memb_synchronize(void) { urcu_memb_synchronize_rcu(); }
void peer_memb_barrier(void) { urcu_memb_barrier(); }

struct request {
  struct rcu_head head;
  sem_t done;
};

static void answer(struct rcu_head *head) {
  sem_post(&caa_container_of(head, struct request, head)->done);
}

void peer_memb_call_and_wait(void) {
  struct request request;
  sem_init(&request.done, 0, 0);
  urcu_memb_call_rcu(&request.head, answer);
  while (sem_wait(&request.done) != 0) {
  }
  sem_destroy(&request.done);
}

struct peer_node {
  struct rcu_head head;
  uint64_t number;
};

uint64_t peer_released;

void peer_release(void *object) {
  (void)object;
  peer_count_released();
}

static void release(struct rcu_head *head) {
  (void)head;
  peer_count_released();
}

struct peer_node *peer_nodes_make(uint64_t count) {
  struct peer_node *nodes = calloc(count, sizeof *nodes);
  if (nodes == NULL) abort();
  // Touched before the time counts.
  for (uint64_t i = 0; i < count; i++) nodes[i].number = i;
  return nodes;
}

void peer_nodes_free(struct peer_node *nodes) { free(nodes); }

void peer_nodes_call(struct peer_node *nodes, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) urcu_memb_call_rcu(&nodes[i].head, release);
}
