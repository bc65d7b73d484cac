#define _LGPL_SOURCE
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include "peer_retire.h"

uint64_t peer_released;

/// 24 bytes or more, like a Swift object with one number.
struct node {
  struct rcu_head head;
  uint64_t number;
};

void *peer_retirable_make(void) {
  struct node *node = malloc(sizeof *node);
  if (node == NULL) abort();
  node->number = 1;
  return node;
}

static void release(struct rcu_head *head) {
  free(caa_container_of(head, struct node, head));
  peer_count_released();
}

static void release_node(void *node) { release(&((struct node *)node)->head); }

static void enter(void) { urcu_memb_register_thread(); }
static void leave(void) { urcu_memb_unregister_thread(); }
static void call(void *node) { urcu_memb_call_rcu(&((struct node *)node)->head, release); }

const struct peer_reclaimer peer_call_rcu = {
    .name = "memb call_rcu, C", .begin = enter, .end = leave, .retire = call, .drain = peer_memb_barrier};

static void enter_defer(void) {
  urcu_memb_register_thread();
  urcu_memb_defer_register_thread();
}
static void leave_defer(void) {
  urcu_memb_defer_unregister_thread();
  urcu_memb_unregister_thread();
}
static void defer(void *node) { urcu_memb_defer_rcu(release_node, node); }
static void drain_defer(void) { urcu_memb_defer_barrier_thread(); }

const struct peer_reclaimer peer_defer_rcu = {
    .name = "memb defer_rcu, C", .begin = enter_defer, .end = leave_defer, .retire = defer, .drain = drain_defer};

void peer_call_rcu_all(void **nodes, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) call(nodes[i]);
}

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

void peer_trim(void) { malloc_trim(0); }

size_t peer_resident_bytes(void) {
  static int statm = -1;
  if (statm < 0) statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  char line[128] = "";
  if (pread(statm, line, sizeof line - 1, 0) <= 0) return 0;
  size_t resident = 0;
  if (sscanf(line, "%*u %zu", &resident) != 1) return 0;
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}
