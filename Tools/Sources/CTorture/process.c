#define _GNU_SOURCE
#include "torture_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t torture_fork(int (*body)(void *argument), void *argument) {
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child > 0) return child;
  // A child that hangs must not outlive a parent that was killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  _exit(body(argument));
}

int torture_wait(pid_t child, int milliseconds) {
  int descriptor = (int)syscall(SYS_pidfd_open, child, 0);
  if (descriptor < 0) return -errno;
  struct pollfd ended = {.fd = descriptor, .events = POLLIN};
  int ready;
  do {
    ready = poll(&ended, 1, milliseconds);
  } while (ready < 0 && errno == EINTR);
  close(descriptor);
  if (ready == 0) kill(child, SIGKILL);
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  if (ready == 0) return -ETIMEDOUT;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
