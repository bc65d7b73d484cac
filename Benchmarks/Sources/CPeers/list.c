#define _LGPL_SOURCE
#include "peer_collection.h"

#include <pthread.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

#include <urcu/rculist.h>

// As in reads_inlined.c.
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));

struct element {
  struct cds_list_head place;
  struct rcu_head head;
  uint64_t number;
};

struct list {
  struct cds_list_head elements;
  pthread_mutex_t lock;
};

static void free_element(struct rcu_head *head) { free(caa_container_of(head, struct element, head)); }

static struct element *make_element(uint64_t number) {
  struct element *element = malloc(sizeof *element);
  if (element == NULL) abort();
  element->number = number;
  return element;
}

static void *make(uint64_t entries) {
  struct list *list = malloc(sizeof *list);
  if (list == NULL) abort();
  CDS_INIT_LIST_HEAD(&list->elements);
  pthread_mutex_init(&list->lock, NULL);
  for (uint64_t number = 1; number <= entries; number++) {
    cds_list_add_tail_rcu(&make_element(number)->place, &list->elements);
  }
  return list;
}

static void write_element(struct list *list) {
  struct element *element = make_element(0);
  pthread_mutex_lock(&list->lock);
  cds_list_add_rcu(&element->place, &list->elements);
  pthread_mutex_unlock(&list->lock);
  pthread_mutex_lock(&list->lock);
  cds_list_del_rcu(&element->place);
  pthread_mutex_unlock(&list->lock);
  urcu_memb_call_rcu(&element->head, free_element);
}

static uint64_t run(void *opaque, const struct peer_operations *operations) {
  struct list *list = opaque;
  uint64_t sum = 0, left = operations->write_every;
  urcu_memb_register_thread();
  for (uint64_t i = 0; i < operations->count; i++) {
    if (operations->write_every != 0 && --left == 0) {
      left = operations->write_every;
      write_element(list);
      continue;
    }
    struct element *element;
    urcu_memb_read_lock();
    cds_list_for_each_entry_rcu(element, &list->elements, place) sum += element->number;
    urcu_memb_read_unlock();
  }
  urcu_memb_unregister_thread();
  return sum;
}

static void destroy(void *opaque) {
  struct list *list = opaque;
  urcu_memb_register_thread();
  urcu_memb_barrier();
  urcu_memb_unregister_thread();
  struct element *element, *next;
  cds_list_for_each_entry_safe(element, next, &list->elements, place) free(element);
  pthread_mutex_destroy(&list->lock);
  free(list);
}

const struct peer_collection peer_list_rcu = {.name = "rculist, C", .make = make, .run = run, .destroy = destroy};
