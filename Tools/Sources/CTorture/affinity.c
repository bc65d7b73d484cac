#define _GNU_SOURCE
#include "torture_affinity.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t torture_thread_id(void) { return (pid_t)syscall(SYS_gettid); }

size_t torture_processors(int *numbers, size_t capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  size_t count = 0;
  for (int number = 0; number < CPU_SETSIZE && count < capacity; number++) {
    if (CPU_ISSET(number, &set)) numbers[count++] = number;
  }
  return count;
}

int torture_set_processors(pid_t thread, const int *numbers, size_t count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t index = 0; index < count; index++) CPU_SET(numbers[index], &set);
  return sched_setaffinity(thread, sizeof set, &set) == 0 ? 0 : errno;
}
