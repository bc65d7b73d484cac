#define _LGPL_SOURCE
#include "peer_collection.h"

#include <stdlib.h>
#include <urcu/urcu-memb.h>

#include <urcu/lfstack.h>
#include <urcu/wfcqueue.h>
#include <urcu/wfstack.h>

// As in reads_inlined.c.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

static void *allocate(size_t size) {
  void *memory = malloc(size);
  if (memory == NULL) abort();
  return memory;
}

/// Defines `name_run`: puts numbers in and takes them out, as `peer_collection.h` says. `put` and
/// `take` are done for each one; `take_all` adds to the sum.
#define RUN(name, type, begin, put, take, take_all, end)                            \
  static uint64_t name##_run(void *opaque, const struct peer_operations *operations) { \
    type *collection = opaque;                                                      \
    uint64_t sum = 0;                                                               \
    begin;                                                                          \
    for (uint64_t i = 0; i < operations->count; i += operations->entries) {         \
      for (uint64_t j = 0; j < operations->entries; j++) put(collection, 1);        \
      sum += operations->entries == 1 ? take(collection) : take_all(collection);    \
    }                                                                               \
    end;                                                                            \
    return sum;                                                                     \
  }

// MARK: - wfcqueue

struct queue {
  struct cds_wfcq_tail tail __attribute__((aligned(64)));
  struct cds_wfcq_head head __attribute__((aligned(64)));
};

struct queued {
  struct cds_wfcq_node place;
  uint64_t number;
};

static void *queue_make(uint64_t entries) {
  (void)entries;
  struct queue *queue = aligned_alloc(64, sizeof *queue);
  if (queue == NULL) abort();
  cds_wfcq_init(&queue->head, &queue->tail);
  return queue;
}

static inline void queue_put(struct queue *queue, uint64_t number) {
  struct queued *element = allocate(sizeof *element);
  element->number = number;
  cds_wfcq_node_init(&element->place);
  cds_wfcq_enqueue(&queue->head, &queue->tail, &element->place);
}

static inline uint64_t queue_take(struct queue *queue) {
  struct cds_wfcq_node *place = cds_wfcq_dequeue_blocking(&queue->head, &queue->tail);
  if (place == NULL) return 0;
  struct queued *element = caa_container_of(place, struct queued, place);
  uint64_t number = element->number;
  free(element);
  return number;
}

static inline uint64_t queue_take_all(struct queue *queue) {
  struct cds_wfcq_head head;
  struct cds_wfcq_tail tail;
  uint64_t sum = 0;
  cds_wfcq_init(&head, &tail);
  cds_wfcq_splice_blocking(&head, &tail, &queue->head, &queue->tail);
  struct cds_wfcq_node *place, *next;
  __cds_wfcq_for_each_blocking_safe(&head, &tail, place, next) {
    struct queued *element = caa_container_of(place, struct queued, place);
    sum += element->number;
    free(element);
  }
  cds_wfcq_destroy(&head, &tail);
  return sum;
}

RUN(queue, struct queue, (void)0, queue_put, queue_take, queue_take_all, (void)0)

static void queue_destroy(void *opaque) {
  struct queue *queue = opaque;
  queue_take_all(queue);
  cds_wfcq_destroy(&queue->head, &queue->tail);
  free(queue);
}

const struct peer_collection peer_queue_wait_free = {
    .name = "wfcqueue, C", .make = queue_make, .run = queue_run, .destroy = queue_destroy};

// MARK: - lfstack: removals in sections, nodes freed after a grace period

struct stacked {
  struct cds_lfs_node place;
  struct rcu_head head;
  uint64_t number;
};

static void free_stacked(struct rcu_head *head) { free(caa_container_of(head, struct stacked, head)); }

static void *stack_make(uint64_t entries) {
  (void)entries;
  struct __cds_lfs_stack *stack = allocate(sizeof *stack);
  __cds_lfs_init(stack);
  return stack;
}

static inline void stack_put(struct __cds_lfs_stack *stack, uint64_t number) {
  struct stacked *element = allocate(sizeof *element);
  element->number = number;
  cds_lfs_node_init(&element->place);
  cds_lfs_push(stack, &element->place);
}

static inline uint64_t stack_take(struct __cds_lfs_stack *stack) {
  urcu_memb_read_lock();
  struct cds_lfs_node *place = __cds_lfs_pop(stack);
  urcu_memb_read_unlock();
  if (place == NULL) return 0;
  struct stacked *element = caa_container_of(place, struct stacked, place);
  uint64_t number = element->number;
  urcu_memb_call_rcu(&element->head, free_stacked);
  return number;
}

static inline uint64_t stack_take_all(struct __cds_lfs_stack *stack) {
  uint64_t sum = 0;
  struct cds_lfs_head *head = __cds_lfs_pop_all(stack);
  struct cds_lfs_node *place, *next;
  if (head == NULL) return 0;
  cds_lfs_for_each_safe(head, place, next) {
    struct stacked *element = caa_container_of(place, struct stacked, place);
    sum += element->number;
    urcu_memb_call_rcu(&element->head, free_stacked);
  }
  return sum;
}

RUN(stack, struct __cds_lfs_stack, urcu_memb_register_thread(), stack_put, stack_take, stack_take_all,
    urcu_memb_unregister_thread())

static void stack_destroy(void *opaque) {
  urcu_memb_register_thread();
  stack_take_all(opaque);
  urcu_memb_barrier();
  urcu_memb_unregister_thread();
  free(opaque);
}

const struct peer_collection peer_stack_lock_free = {
    .name = "lfstack, C", .make = stack_make, .run = stack_run, .destroy = stack_destroy};

// MARK: - wfstack: removals under its lock, nodes freed at once

struct locked {
  struct cds_wfs_node place;
  uint64_t number;
};

static void *locked_make(uint64_t entries) {
  (void)entries;
  struct cds_wfs_stack *stack = allocate(sizeof *stack);
  cds_wfs_init(stack);
  return stack;
}

static inline void locked_put(struct cds_wfs_stack *stack, uint64_t number) {
  struct locked *element = allocate(sizeof *element);
  element->number = number;
  cds_wfs_node_init(&element->place);
  cds_wfs_push(stack, &element->place);
}

static inline uint64_t locked_take(struct cds_wfs_stack *stack) {
  struct cds_wfs_node *place = cds_wfs_pop_blocking(stack);
  if (place == NULL) return 0;
  struct locked *element = caa_container_of(place, struct locked, place);
  uint64_t number = element->number;
  free(element);
  return number;
}

static inline uint64_t locked_take_all(struct cds_wfs_stack *stack) {
  uint64_t sum = 0;
  struct cds_wfs_head *head = cds_wfs_pop_all_blocking(stack);
  struct cds_wfs_node *place, *next;
  if (head == NULL) return 0;
  cds_wfs_for_each_blocking_safe(head, place, next) {
    struct locked *element = caa_container_of(place, struct locked, place);
    sum += element->number;
    free(element);
  }
  return sum;
}

RUN(locked, struct cds_wfs_stack, (void)0, locked_put, locked_take, locked_take_all, (void)0)

static void locked_destroy(void *opaque) {
  locked_take_all(opaque);
  cds_wfs_destroy(opaque);
  free(opaque);
}

const struct peer_collection peer_stack_wait_free = {
    .name = "wfstack, C", .make = locked_make, .run = locked_run, .destroy = locked_destroy};
