#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "process_edges.h"

static void fail(const char *what, int error) {
  fprintf(stderr, "a test's %s: %s\n", what, strerror(error));
  abort();
}

struct work {
  void (*before)(void *), (*body)(void *);
  void *argument;
  const pthread_key_t *key;
  int rounds;
  pid_t id;
};

static void run_destructor(void *opaque) {
  struct work *work = opaque;
  if (--work->rounds > 0)
    pthread_setspecific(*work->key, work);
  else
    work->body(work->argument);
}

static void *run(void *opaque) {
  struct work *work = opaque;
  work->id = (pid_t)syscall(SYS_gettid);
  if (work->before != NULL) work->before(work->argument);
  if (work->key == NULL)
    work->body(work->argument);
  else
    pthread_setspecific(*work->key, work);
  return NULL;
}

void run_on_thread(void (*before)(void *), void (*body)(void *), void *argument, const pthread_key_t *key, int rounds) {
  struct work work = {before, body, argument, key, rounds, 0};
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run, &work);
  if (error != 0) fail("thread", error);
  pthread_join(thread, NULL);
  // The kernel wakes pthread_join before it takes the thread off its list, which is where
  // `registeredReaders` looks for threads that ended without this library's destructor.
  while (syscall(SYS_tgkill, getpid(), work.id, 0) == 0) sched_yield();
}

void use_up_keys(int count) {
  pthread_key_t key;
  for (int i = 0; i < count; i++) {
    int error = pthread_key_create(&key, NULL);
    if (error != 0) fail("key", error);
  }
}

pthread_key_t make_destructor_key(void) {
  pthread_key_t key;
  int error = pthread_key_create(&key, run_destructor);
  if (error != 0) fail("key", error);
  return key;
}

static void (*handled)(void);
static _Atomic bool is_ready, was_handled, is_over;

static void handle(int number) {
  (void)number;
  handled();
  was_handled = true;
}

static void *allocate(void *unused) {
  (void)unused;
  void *blocks[64] = {0};
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, SIGUSR1);
  pthread_sigmask(SIG_UNBLOCK, &own, NULL);
  is_ready = true;
  for (unsigned i = 0; !is_over; i++) {
    free(blocks[i % 64]);
    blocks[i % 64] = malloc(3000 + i * 977 % 20000);
  }
  for (int i = 0; i < 64; i++) free(blocks[i]);
  return NULL;
}

int call_from_handlers(void (*body)(void), int threads) {
  handled = body;
  struct sigaction action = {.sa_handler = handle};
  sigaction(SIGUSR1, &action, NULL);
  for (int i = 0; i < threads; i++) {
    is_ready = was_handled = is_over = false;
    pthread_t thread;
    int error = pthread_create(&thread, NULL, allocate, NULL);
    if (error != 0) fail("thread", error);
    while (!is_ready) sched_yield();
    // The signal comes at some moment of an allocation or between two.
    for (volatile int left = i * 7919 % 5000; left > 0; left--) {}
    pthread_kill(thread, SIGUSR1);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + 10;
    while (!was_handled) {
      clock_gettime(CLOCK_MONOTONIC, &now);
      if (now.tv_sec > end) return i;
      sched_yield();
    }
    is_over = true;
    pthread_join(thread, NULL);
  }
  return -1;
}

static void *wait_for_end(void *parked) {
  pthread_mutex_lock(parked);
  pthread_mutex_unlock(parked);
  return NULL;
}

static long address_space(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  long pages = 0;
  if (file == NULL || fscanf(file, "%ld", &pages) != 1) fail("memory", errno);
  fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

void call_without_threads(void (*body)(void *), void *argument) {
  struct rlimit before, limit;
  getrlimit(RLIMIT_AS, &before);
  limit = before;
  // Less than a stack, and the stacks of threads that are gone taken by others.
  limit.rlim_cur = (rlim_t)address_space() + (4 << 20);
  if (setrlimit(RLIMIT_AS, &limit) != 0) fail("limit", errno);
  static pthread_mutex_t parked = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&parked);
  pthread_t thread;
  while (pthread_create(&thread, NULL, wait_for_end, &parked) == 0) pthread_detach(thread);
  body(argument);
  setrlimit(RLIMIT_AS, &before);
  pthread_mutex_unlock(&parked);
}
