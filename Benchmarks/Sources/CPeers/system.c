#define _GNU_SOURCE
#include <errno.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "peer_system.h"

int peer_allowed_processors(int *processors, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return -errno;
  int count = 0;
  for (int processor = 0; processor < CPU_SETSIZE && count < capacity; processor++)
    if (CPU_ISSET(processor, &set)) processors[count++] = processor;
  return count;
}

int peer_pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : errno;
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t peer_thread_nanoseconds(void) { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

uint64_t peer_wall_nanoseconds(void) { return nanoseconds(CLOCK_MONOTONIC); }

uint64_t peer_thread_sleeps(void) {
  struct rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_nvcsw : 0;
}

#define PEER_TEXT(number) PEER_TEXT_OF(number)
#define PEER_TEXT_OF(number) #number

const char *peer_compiler(void) { return "clang " PEER_TEXT(__clang_major__) "." PEER_TEXT(__clang_minor__); }

const char *peer_c_library(void) { return gnu_get_libc_version(); }

void peer_sleep(uint64_t nanoseconds) {
  struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
  nanosleep(&time, NULL);
}

// Of the library's shims, which are no product: see qs_yields.h.
uint32_t qs_yield_limit(void);
void qs_set_yield_limit(uint32_t limit);

void peer_forbid_yields(bool forbids) {
  static uint32_t limit;
  if (forbids) limit = qs_yield_limit();
  qs_set_yield_limit(forbids ? 0 : limit);
}
