#define _GNU_SOURCE
#include "registry.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order.h"
#include "qs_liburcu.h"
#include "qs_thread.h"
// The layout of the readers' words, also where the read side is not inline: data structures, no code.
#include <urcu/static/urcu-bp.h>
#include <urcu/static/urcu-mb.h>
#include <urcu/static/urcu-memb.h>
#include <urcu/static/urcu-qsbr.h>

// The list's lock is hidden from the thread sanitizer, as liburcu's are: see order.h. So it must not see the list either.
#if defined(__clang__)
#pragma clang attribute push(QS_UNSANITIZED, apply_to = function)
#endif

__thread struct reader qs_reader_self;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/// Of the thread while it has the lock.
static __thread sigset_t signals_before;
static struct reader *first;
static uint32_t counts[QS_FLAVORS];

void qs_registry_lock(void) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  order_hide_locks();
  pthread_mutex_lock(&lock);
  signals_before = before;
}

void qs_registry_unlock(void) {
  sigset_t before = signals_before;
  pthread_mutex_unlock(&lock);
  order_show_locks();
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void qs_registry_add(enum qs_flavor flavor) {
  struct reader *self = &qs_reader_self;
  if (self->link == NULL) {
    self->id = qs_thread_id();
    self->thread = pthread_self();
    self->words[QS_MEMB] = &URCU_TLS(urcu_memb_reader);
    self->words[QS_QSBR] = &URCU_TLS(urcu_qsbr_reader);
    self->words[QS_MB] = &URCU_TLS(urcu_mb_reader);
    self->words[QS_BP] = &URCU_TLS(urcu_bp_reader);
    self->next = first;
    self->link = &first;
    if (first != NULL) first->link = &self->next;
    first = self;
  }
  self->registered[flavor] = true;
  counts[flavor]++;
}

void qs_registry_remove(enum qs_flavor flavor) {
  struct reader *self = &qs_reader_self;
  self->registered[flavor] = false;
  counts[flavor]--;
  for (int other = 0; other < QS_FLAVORS; other++)
    if (self->registered[other]) return;
  *self->link = self->next;
  if (self->next != NULL) self->next->link = self->link;
  self->link = NULL;
}

uint32_t qs_readers_registered(uint32_t flavor) {
  qs_registry_lock();
  uint32_t count = counts[flavor];
  qs_registry_unlock();
  return count;
}

// As liburcu's own walk decides it: inside, since before the phase last changed.
static bool is_old(unsigned long counter, unsigned long gp) {
  return (counter & URCU_GP_CTR_NEST_MASK) != 0 && ((counter ^ gp) & URCU_GP_CTR_PHASE) != 0;
}

_Static_assert(URCU_GP_CTR_PHASE == URCU_BP_GP_CTR_PHASE, "one layout of the readers' words");

static bool is_held_up_by(const struct reader *reader, enum qs_flavor flavor) {
  unsigned long counter;
  switch (flavor) {
    case QS_QSBR:
      counter = CMM_LOAD_SHARED(((struct urcu_qsbr_reader *)reader->words[QS_QSBR])->ctr);
      return counter != 0 && counter != CMM_LOAD_SHARED(urcu_qsbr_gp.ctr);
    case QS_BP: {
      struct urcu_bp_reader *word = CMM_LOAD_SHARED(*(struct urcu_bp_reader **)reader->words[QS_BP]);
      return word != NULL && is_old(CMM_LOAD_SHARED(word->ctr), CMM_LOAD_SHARED(urcu_bp_gp.ctr));
    }
    default:
      counter = CMM_LOAD_SHARED(((struct urcu_reader *)reader->words[flavor])->ctr);
      return is_old(counter, CMM_LOAD_SHARED((flavor == QS_MEMB ? &urcu_memb_gp : &urcu_mb_gp)->ctr));
  }
}

uint32_t qs_readers_holding(uint32_t flavor, struct qs_reader *readers, uint32_t capacity) {
  uint32_t count = 0;
  qs_registry_lock();
  for (struct reader *reader = first; reader != NULL; reader = reader->next) {
    if (!reader->registered[flavor] || !is_held_up_by(reader, flavor)) continue;
    if (count++ >= capacity) continue;
    readers[count - 1].id = reader->id;
    // It cannot end meanwhile: leaving the list takes the lock.
    if (pthread_getname_np(reader->thread, readers[count - 1].name, sizeof readers->name) != 0)
      strcpy(readers[count - 1].name, "?");
  }
  qs_registry_unlock();
  return count;
}

static bool bp_is_skipped;

void qs_registry_before_fork(bool skip_bp) {
  qs_registry_lock();
  bp_is_skipped = skip_bp;
  if (!skip_bp) urcu_bp_before_fork();
}

void qs_registry_after_fork_parent(void) {
  if (!bp_is_skipped) urcu_bp_after_fork_parent();
  qs_registry_unlock();
}

// The other threads are gone, and their thread-local memory is free for the child's new threads: a grace period that
// walked over it would wait for a reader that cannot leave, or for whatever lies there then.
void qs_registry_after_fork_child(void) {
  if (!bp_is_skipped) urcu_bp_after_fork_child();
  struct reader *self = &qs_reader_self;
  for (struct reader *reader = first; reader != NULL; reader = reader->next) {
    if (reader == self) continue;
    // What registered with liburcu-bp was in liburcu's own care.
    if (reader->registered[QS_MEMB]) cds_list_del(&((struct urcu_reader *)reader->words[QS_MEMB])->node);
    if (reader->registered[QS_MB]) cds_list_del(&((struct urcu_reader *)reader->words[QS_MB])->node);
    if (reader->registered[QS_QSBR])
      cds_list_del(&((struct urcu_qsbr_reader *)reader->words[QS_QSBR])->node);
  }
  bool is_reader = self->link != NULL;
  first = is_reader ? self : NULL;
  if (is_reader) {
    self->next = NULL;
    self->link = &first;
    self->id = qs_thread_id();
  }
  for (int flavor = 0; flavor < QS_FLAVORS; flavor++) counts[flavor] = self->registered[flavor];
  qs_registry_unlock();
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
