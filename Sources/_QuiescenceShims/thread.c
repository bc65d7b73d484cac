#define _GNU_SOURCE
#include "qs_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread struct qs_thread qs_thread;

struct start {
  void (*body)(void *);
  void *argument;
  char name[16];
};

static void *run(void *opaque) {
  struct start start = *(struct start *)opaque;
  free(opaque);
  pthread_setname_np(pthread_self(), start.name);
  start.body(start.argument);
  return NULL;
}

int qs_thread_start(const char *name, void (*body)(void *), void *argument) {
  struct start *start = malloc(sizeof *start);
  if (start == NULL) return ENOMEM;
  start->body = body;
  start->argument = argument;
  snprintf(start->name, sizeof start->name, "%s", name);

  // Blocked before the thread exists, so that it never takes a signal meant for the host's threads.
  // Not those of an instruction that fails: where they are blocked, the kernel ends the process
  // without calling the host's handler.
  static const int errors[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  sigset_t all, before;
  sigfillset(&all);
  for (size_t index = 0; index < sizeof errors / sizeof errors[0]; index++)
    sigdelset(&all, errors[index]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, run, start);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) free(start);
  return error;
}

pid_t qs_thread_id(void) { return (pid_t)syscall(SYS_gettid); }
