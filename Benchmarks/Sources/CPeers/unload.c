#define _GNU_SOURCE
#include "peer_unload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

// glibc's default would let readers overtake the waiting writer for ever.
static pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static void *image;
static int (*hook)(void *argument, void *context);

int peer_locked_load(const char *path) {
  void *opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (opened == NULL) return ENOEXEC;
  int (*found)(void *, void *) = (int (*)(void *, void *))dlsym(opened, "traffic_hook");
  if (found == NULL) {
    dlclose(opened);
    return ENOENT;
  }
  pthread_rwlock_wrlock(&lock);
  image = opened;
  hook = found;
  pthread_rwlock_unlock(&lock);
  return 0;
}

uint64_t peer_locked_dispatch(uint64_t rounds) {
  uint64_t called = 0;
  for (uint64_t i = 0; i < rounds; i++) {
    pthread_rwlock_rdlock(&lock);
    if (hook != NULL) hook(&called, NULL);
    pthread_rwlock_unlock(&lock);
  }
  return called;
}

int peer_locked_unload(void) {
  pthread_rwlock_wrlock(&lock);
  hook = NULL;
  pthread_rwlock_unlock(&lock);
  return dlclose(image) == 0 ? 0 : EBUSY;
}
