// Each thread's queues of retired values: one for each reclaimer that the thread has used.
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>

#include "registry.h"
#include "qs_thread.h"

static _Atomic(void (*)(void *)) end_retire_queue;

static void end_queue(void **place) {
  void *queue = *place;
  if (queue == NULL) return;
  // First: a later retire in another destructor creates a new queue.
  *place = NULL;
  atomic_load_explicit(&end_retire_queue, memory_order_acquire)(queue);
}

void qs_retire_queues_end(void) {
  for (uint32_t place = 0; place < QS_FLAVORS; place++) end_queue(&qs_thread.retire_queues[place]);
  for (uint32_t place = 0; place < qs_thread.more_capacity; place++) end_queue(&qs_thread.more_queues[place]);
  void **more = qs_thread.more_queues;
  qs_thread.more_capacity = 0;
  qs_thread.more_queues = NULL;
  free(more);
}

void qs_thread_set_retire_queue(uint32_t place, void *queue, void (*end)(void *queue)) {
  atomic_store_explicit(&end_retire_queue, end, memory_order_release);
  qs_leave_at_end();
  if (place < QS_FLAVORS) {
    qs_thread.retire_queues[place] = queue;
    return;
  }
  uint32_t index = place - QS_FLAVORS, capacity = qs_thread.more_capacity;
  if (index >= capacity) {
    uint32_t wanted = index + 1 > 2 * capacity ? index + 1 : 2 * capacity;
    void **more = realloc(qs_thread.more_queues, wanted * sizeof *more);
    if (more == NULL) qs_trap("no memory for a thread's queue of retired values");
    for (uint32_t i = capacity; i < wanted; i++) more[i] = NULL;
    qs_thread.more_queues = more;
    qs_thread.more_capacity = wanted;
  }
  qs_thread.more_queues[index] = queue;
}
