#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "qs_futex.h"
#include "qs_processor.h"

int qs_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds) {
  struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  long result = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
                        nanoseconds < 0 ? NULL : &limit, NULL, 0);
  return result != 0 && errno == ETIMEDOUT ? ETIMEDOUT : 0;
}

void qs_futex_wake_all(const void *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

uint32_t qs_processor_count(void) {
  // Configured, not online: a processor that comes up later must have its slot already.
  long count = sysconf(_SC_NPROCESSORS_CONF);
  return count > 0 ? (uint32_t)count : 1;
}

uint32_t qs_processor_current(void) {
  int processor = sched_getcpu();
  return processor >= 0 ? (uint32_t)processor : 0;
}

uint64_t qs_clock_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + 1;
}
