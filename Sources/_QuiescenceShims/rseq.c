// Whether sequences can be used in this process, and the barrier of their slow side.
#define _GNU_SOURCE
#include "qs_rseq.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trap.h"

// Not by order.h: so that this compiles without liburcu, for Tests/Aarch64.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

// Not from <sys/rseq.h>, to be weak: glibc before 2.35 and musl do not have them.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/// What a thread's `struct rseq` is where there is none: a processor that has no slot anywhere.
static __thread struct {
  uint32_t cpu_id_start, cpu_id;
  uint64_t cs;
} absent __attribute__((tls_model("initial-exec"))) = {0, UINT32_MAX, 0};

ptrdiff_t qs_rseq_offset;
static const char *refusal = "the library has not started";

static pthread_mutex_t barrier_lock = PTHREAD_MUTEX_INITIALIZER;
/// Barriers that have started, and the last that has passed. Written under the lock.
static uint64_t started, passed;

#if !defined(QS_RSEQ_MISSING)
static uint32_t processor_of_this_thread(ptrdiff_t offset) {
  return *(volatile uint32_t *)((char *)__builtin_thread_pointer() + offset + QS_RSEQ_CPU_ID);
}
#endif

static const char *find_refusal(void) {
  const char *wish = getenv("QUIESCENCE_NO_RSEQ");
  if (wish != NULL && strcmp(wish, "") != 0 && strcmp(wish, "0") != 0) return "QUIESCENCE_NO_RSEQ is set";
#if defined(QS_RSEQ_MISSING)
  return QS_RSEQ_MISSING;
#else
  if (&__rseq_offset == NULL || &__rseq_size == NULL) return "the C library does not register threads for them";
  // 0: an old kernel, an emulator such as valgrind, a tunable, or another library came first.
  if (__rseq_size == 0 || (int32_t)processor_of_this_thread(__rseq_offset) < 0)
    return "the C library could not register its threads for them";
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) != 0 ||
      syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) != 0)
    return "the kernel has no membarrier for them";
#if defined(SANITIZED)
  return "the thread sanitizer does not see them";
#else
  return NULL;
#endif
#endif
}

// A lock that a fork finds taken would stay so in the child.
static void before_fork(void) { pthread_mutex_lock(&barrier_lock); }
static void after_fork_parent(void) { pthread_mutex_unlock(&barrier_lock); }
static void after_fork_child(void) { pthread_mutex_init(&barrier_lock, NULL); }

// Before other constructors, which may count already.
__attribute__((constructor(101))) static void start(void) {
  refusal = find_refusal();
  if (refusal == NULL)
    qs_rseq_offset = __rseq_offset;
  else
    qs_rseq_offset = (char *)&absent - (char *)__builtin_thread_pointer();
  if (pthread_atfork(before_fork, after_fork_parent, after_fork_child) != 0)
    qs_trap("no memory to watch for forks");
}

const char *qs_rseq_refusal(void) { return refusal; }

uint64_t qs_rseq_next_barrier(void) {
  // The caller has stored a mode. Without the fence the load could come first: a barrier could
  // start and pass in between, and the caller would take it for a later one than it was.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return __atomic_load_n(&started, __ATOMIC_RELAXED) + 1;
}

void qs_rseq_pass_barrier(uint64_t number) {
  if (__atomic_load_n(&passed, __ATOMIC_ACQUIRE) >= number) return;
  if (refusal != NULL) qs_trap("a barrier for restartable sequences, where there are none");
  pthread_mutex_lock(&barrier_lock);
  // One that started after the caller took its number, while the caller waited for the lock, serves
  // as well.
  while (passed < number) {
    uint64_t next = started + 1;
    __atomic_store_n(&started, next, __ATOMIC_RELAXED);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) != 0) qs_membarrier_refused();
    __atomic_store_n(&passed, next, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&barrier_lock);
}

uint64_t qs_rseq_barriers(void) { return __atomic_load_n(&passed, __ATOMIC_ACQUIRE); }
