#define _LGPL_SOURCE
#include <semaphore.h>
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

uint64_t peer_released;
