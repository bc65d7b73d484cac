#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "relay_io.h"

enum { most_events = 64 };

int relay_poll_create(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int relay_poll_watch(int poll, int fd, uint64_t token, bool readable, bool writable, bool add) {
  struct epoll_event event = {.data.u64 = token};
  if (readable) event.events |= EPOLLIN;
  if (writable) event.events |= EPOLLOUT;
  return epoll_ctl(poll, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

int relay_poll_wait(int poll, struct relay_event *events, int count, int milliseconds) {
  struct epoll_event ready[most_events];
  if (count > most_events) count = most_events;
  int found = epoll_wait(poll, ready, count, milliseconds);
  if (found < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < found; i++) {
    events[i].token = ready[i].data.u64;
    events[i].readable = (ready[i].events & EPOLLIN) != 0;
    events[i].writable = (ready[i].events & EPOLLOUT) != 0;
    events[i].failed = (ready[i].events & (EPOLLERR | EPOLLHUP)) != 0;
  }
  return found;
}

int relay_bell_create(void) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

void relay_bell_ring(int bell) {
  uint64_t one = 1;
  // EAGAIN means that the counter is full; the reader will wake up anyway.
  while (write(bell, &one, sizeof one) < 0 && errno == EINTR) {}
}

struct start {
  void (*body)(void *);
  void *argument;
  int niceness;
  char name[16];
};

static void *run(void *opaque) {
  struct start start = *(struct start *)opaque;
  free(opaque);
  pthread_setname_np(pthread_self(), start.name);
  // On Linux, nice changes the calling thread only.
  if (start.niceness != 0) nice(start.niceness);
  start.body(start.argument);
  return NULL;
}

int relay_thread_start(pthread_t *thread, const char *name, int niceness, void (*body)(void *),
                       void *argument) {
  struct start *start = malloc(sizeof *start);
  if (start == NULL) return -ENOMEM;
  start->body = body;
  start->argument = argument;
  start->niceness = niceness;
  snprintf(start->name, sizeof start->name, "%s", name);
  // Blocked before the thread exists, so that it never receives a signal of another thread. Not
  // those of an instruction that fails: where they are blocked, no handler is called.
  static const int errors[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  sigset_t all, before;
  sigfillset(&all);
  for (size_t index = 0; index < sizeof errors / sizeof errors[0]; index++)
    sigdelset(&all, errors[index]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(thread, NULL, run, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) free(start);
  return -error;
}
