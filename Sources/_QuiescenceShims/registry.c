#define _GNU_SOURCE
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "order.h"
#include "qs_liburcu.h"
#include "qs_thread.h"
// The layout of the readers' words, also where the read side is not inline: data structures, no
// code.
#include <urcu/static/urcu-bp.h>
#include <urcu/static/urcu-mb.h>
#include <urcu/static/urcu-memb.h>
#include <urcu/static/urcu-qsbr.h>

// The list's lock is hidden from the thread sanitizer, as liburcu's are: see order.h. So it must
// not see the list either.
#if defined(__clang__)
#pragma clang attribute push(QS_UNSANITIZED, apply_to = function)
#endif

__thread struct reader_self qs_reader_self __attribute__((tls_model("initial-exec")));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/// Of the thread while it has the lock.
static __thread sigset_t signals_before __attribute__((tls_model("initial-exec")));
static struct reader *first, *unused;
static uint32_t counts[QS_FLAVORS];
static bool lost[QS_FLAVORS];

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

bool qs_registry_is_lost(enum qs_flavor flavor) { return lost[flavor]; }

// From the kernel, not from malloc: a handler that registers may have interrupted malloc.
static void map_readers(void) {
  enum { BYTES = 1 << 16 };
  struct reader *readers = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (readers == MAP_FAILED) qs_trap("no memory to register a thread as a reader");
  for (size_t i = BYTES / sizeof *readers; i > 0; i--) {
    readers[i - 1].next = unused;
    unused = &readers[i - 1];
  }
}

static void remove_reader(struct reader *reader) {
  *reader->link = reader->next;
  if (reader->next != NULL) reader->next->link = reader->link;
  reader->next = unused;
  unused = reader;
}

static void *own_word(enum qs_flavor flavor) {
  switch (flavor) {
    case QS_MEMB: return &URCU_TLS(urcu_memb_reader);
    case QS_MB: return &URCU_TLS(urcu_mb_reader);
    case QS_QSBR: return &URCU_TLS(urcu_qsbr_reader);
    default: return URCU_TLS(urcu_bp_reader);
  }
}

void qs_registry_add(enum qs_flavor flavor) {
  struct reader_self *self = &qs_reader_self;
  struct reader *reader = self->reader;
  if (reader == NULL) {
    if (unused == NULL) map_readers();
    reader = unused;
    unused = reader->next;
    // Field by field: the sanitizer sees the memcpy of a struct.
    reader->next = first;
    reader->link = &first;
    reader->id = qs_thread_id();
    for (int other = 0; other < QS_FLAVORS; other++) {
      reader->words[other] = NULL;
      reader->registered[other] = false;
    }
    if (first != NULL) first->link = &reader->next;
    first = reader;
    self->reader = reader;
  }
  reader->words[flavor] = own_word(flavor);
  reader->registered[flavor] = self->registered[flavor] = true;
  counts[flavor]++;
}

void qs_registry_remove(enum qs_flavor flavor) {
  struct reader_self *self = &qs_reader_self;
  self->reader->registered[flavor] = self->registered[flavor] = false;
  counts[flavor]--;
  for (int other = 0; other < QS_FLAVORS; other++)
    if (self->registered[other]) return;
  remove_reader(self->reader);
  self->reader = NULL;
}

// Threads that read under liburcu-bp alone may have ended without `leave`: see leave.c. Their words
// in liburcu's memory stay as they are, with no section open, so until here they only count.
static void remove_the_dead(void) {
  pid_t process = getpid();
  for (struct reader *reader = first, *next; reader != NULL; reader = next) {
    next = reader->next;
    if (!reader->registered[QS_BP]) continue;
    if (reader->registered[QS_MEMB] || reader->registered[QS_MB] || reader->registered[QS_QSBR]) continue;
    if (syscall(SYS_tgkill, process, reader->id, 0) == 0 || errno != ESRCH) continue;
    remove_reader(reader);
    counts[QS_BP]--;
  }
}

uint32_t qs_readers_registered(uint32_t flavor) {
  qs_registry_lock();
  if (flavor == QS_BP) remove_the_dead();
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
    case QS_BP:
      counter = CMM_LOAD_SHARED(((struct urcu_bp_reader *)reader->words[QS_BP])->ctr);
      return is_old(counter, CMM_LOAD_SHARED(urcu_bp_gp.ctr));
    default:
      counter = CMM_LOAD_SHARED(((struct urcu_reader *)reader->words[flavor])->ctr);
      return is_old(counter, CMM_LOAD_SHARED((flavor == QS_MEMB ? &urcu_memb_gp : &urcu_mb_gp)->ctr));
  }
}

// "4711 (name) S …": the name may contain anything, and its end is the last parenthesis.
static void describe(pid_t id, struct qs_reader *reader) {
  reader->id = id;
  strcpy(reader->name, "?");
  reader->state = 0;
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
  if (file >= 0) close(file);
  line[length > 0 ? length : 0] = 0;
  char *name = strchr(line, '('), *end = strrchr(line, ')');
  if (name != NULL && end != NULL) {
    *end = 0;
    snprintf(reader->name, sizeof reader->name, "%s", name + 1);
    if (end[1] != 0) reader->state = end[2];
  }
  // The clock of a thread of this process: CPUCLOCK_PERTHREAD and CPUCLOCK_SCHED, as
  // pthread_getcpuclockid makes it of a pthread_t, which may be invalid here.
  struct timespec time;
  reader->processor_time = clock_gettime((clockid_t)(~(unsigned)id << 3 | 6), &time) != 0
                               ? UINT64_MAX
                               : (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint32_t qs_readers_holding(uint32_t flavor, struct qs_reader *readers, uint32_t capacity) {
  uint32_t count = 0;
  qs_registry_lock();
  if (flavor == QS_BP) remove_the_dead();
  for (struct reader *reader = first; reader != NULL; reader = reader->next) {
    if (!reader->registered[flavor] || !is_held_up_by(reader, flavor)) continue;
    if (count++ >= capacity) continue;
    describe(reader->id, &readers[count - 1]);
  }
  qs_registry_unlock();
  return count;
}

static uint32_t lost_by_this_fork;

void qs_registry_before_fork(uint32_t lost_flavors) {
  qs_registry_lock();
  lost_by_this_fork = lost_flavors;
  if (!(lost_flavors >> QS_BP & 1)) urcu_bp_before_fork();
}

void qs_registry_after_fork_parent(void) {
  if (!(lost_by_this_fork >> QS_BP & 1)) urcu_bp_after_fork_parent();
  qs_registry_unlock();
}

// The other threads are gone, and their thread-local memory is free for the child's new threads: a
// grace period that walked over it would wait for a reader that cannot leave, or for whatever lies
// there then.
void qs_registry_after_fork_child(void) {
  for (int flavor = 0; flavor < QS_FLAVORS; flavor++) lost[flavor] |= lost_by_this_fork >> flavor & 1;
  if (!(lost_by_this_fork >> QS_BP & 1)) urcu_bp_after_fork_child();
  for (struct reader *reader = first, *next; reader != NULL; reader = next) {
    next = reader->next;
    if (reader == qs_reader_self.reader) continue;
    // What registered with liburcu-bp was in liburcu's own care. Lists of a lost flavor were being
    // changed at the fork, and no grace period walks them here.
    if (reader->registered[QS_MEMB] && !lost[QS_MEMB])
      cds_list_del(&((struct urcu_reader *)reader->words[QS_MEMB])->node);
    if (reader->registered[QS_MB] && !lost[QS_MB])
      cds_list_del(&((struct urcu_reader *)reader->words[QS_MB])->node);
    if (reader->registered[QS_QSBR] && !lost[QS_QSBR])
      cds_list_del(&((struct urcu_qsbr_reader *)reader->words[QS_QSBR])->node);
    remove_reader(reader);
  }
  if (qs_reader_self.reader != NULL) qs_reader_self.reader->id = qs_thread_id();
  for (int flavor = 0; flavor < QS_FLAVORS; flavor++) counts[flavor] = qs_reader_self.registered[flavor];
  qs_registry_unlock();
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
