// Where cells come from: blocks of mapped memory, batches of free cells that threads pass on, and a
// magazine a thread.
#define _GNU_SOURCE
#include "qs_arena.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trap.h"

enum {
  BLOCK_CELLS = (1 << QS_SLOT_SHIFT) / sizeof(uint64_t),
  /// What a magazine and the depot pass to each other at a time.
  BATCH = 32,
  LOCKS = 16,
};

// Two of the words that are the maker's while the cell is in use.
static struct qs_cell **next_free(struct qs_cell *cell) { return (struct qs_cell **)&cell->state[0]; }
static struct qs_cell **next_batch(struct qs_cell *cell) { return (struct qs_cell **)&cell->state[1]; }
static uint64_t *batch_size(struct qs_cell *cell) { return &cell->state[2]; }

static uint32_t phase_of(const struct qs_cell *cell) {
  return (uint32_t)(__atomic_load_n(&cell->mode, __ATOMIC_RELAXED) >> 32);
}

static uint32_t processors;

// MARK: The depot

static struct {
  pthread_mutex_t lock;
  /// Batches of free cells: each cell leads to the next of its batch, the first of each to the next
  /// batch.
  struct qs_cell *batches;
  /// The cells of the newest block, and how many of them were handed out.
  struct qs_cell *block;
  uint32_t used;
  struct qs_arena_usage usage;
} depot = {.lock = PTHREAD_MUTEX_INITIALIZER, .used = BLOCK_CELLS};

// The cells first, then each processor's slots. Nothing is touched: a page takes memory when a
// processor first counts there. Pages and not huge pages, also where the system's setting for
// transparent huge pages is "always": the first count would take 2 MiB instead of 4 KiB, and put
// the slots of up to 32 processors on the node of one of them.
static bool map_block(void) {
  size_t cells = BLOCK_CELLS * sizeof(struct qs_cell), size = cells + ((size_t)processors << QS_SLOT_SHIFT);
  void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return false;
  // Refused only by kernels without huge pages.
  madvise(block, size, MADV_NOHUGEPAGE);
  depot.block = block;
  depot.used = 0;
  depot.usage.blocks++;
  return true;
}

static struct qs_cell *fresh_cell(void) {
  if (depot.used == BLOCK_CELLS && !map_block()) {
    // A limit on the address space. Such a cell counts on its one atomic word, and everything else
    // is the same.
    struct qs_cell *cell = aligned_alloc(64, sizeof *cell);
    if (cell == NULL) qs_trap("no memory for a counter");
    *cell = (struct qs_cell){.slot = NULL};
    depot.usage.without_slots++;
    return cell;
  }
  struct qs_cell *cell = &depot.block[depot.used];
  cell->slot = (char *)&depot.block[BLOCK_CELLS] + depot.used * sizeof(uint64_t);
  depot.used++;
  depot.usage.cells++;
  return cell;
}

static struct qs_cell *take_batch(uint64_t *size) {
  pthread_mutex_lock(&depot.lock);
  struct qs_cell *batch = depot.batches;
  if (batch != NULL) {
    depot.batches = *next_batch(batch);
    *size = *batch_size(batch);
  } else {
    for (*size = 0; *size < BATCH; ++*size) {
      struct qs_cell *cell = fresh_cell();
      *next_free(cell) = batch;
      batch = cell;
      // One at a time is enough of those that cost a lock each later on.
      if (cell->slot == NULL) {
        ++*size;
        break;
      }
    }
  }
  pthread_mutex_unlock(&depot.lock);
  return batch;
}

static void give_batch(struct qs_cell *batch, uint64_t size) {
  *batch_size(batch) = size;
  pthread_mutex_lock(&depot.lock);
  *next_batch(batch) = depot.batches;
  depot.batches = batch;
  pthread_mutex_unlock(&depot.lock);
}

// MARK: Magazines

/// A thread's own free cells: up to two batches, so that taking and returning around a boundary
/// needs no lock each time.
static __thread struct {
  struct qs_cell *free[2];
  uint64_t sizes[2];
  bool is_watched;
} magazine __attribute__((tls_model("initial-exec")));

static pthread_key_t end_key;

// Runs when a thread ends that has taken or returned a cell. If another destructor does so
// afterwards, it runs again.
static void end_magazine(void *unused) {
  (void)unused;
  magazine.is_watched = false;
  for (int i = 0; i < 2; i++) {
    if (magazine.free[i] == NULL) continue;
    give_batch(magazine.free[i], magazine.sizes[i]);
    magazine.free[i] = NULL;
    magazine.sizes[i] = 0;
  }
}

static void watch_thread(void) {
  if (magazine.is_watched) return;
  if (pthread_setspecific(end_key, &magazine) != 0) qs_trap("no memory to return a thread's free counters at its end");
  magazine.is_watched = true;
}

struct qs_cell *qs_cell_create(void) {
  int i = magazine.free[0] != NULL ? 0 : 1;
  if (__builtin_expect(magazine.free[i] == NULL, 0)) {
    watch_thread();
    i = 0;
    magazine.free[0] = take_batch(&magazine.sizes[0]);
  }
  struct qs_cell *cell = magazine.free[i];
  magazine.free[i] = *next_free(cell);
  magazine.sizes[i]--;
  if (phase_of(cell) != QS_CELL_FREE) qs_trap("a free counter is in use: memory was overwritten");
  return cell;
}

void qs_cell_recycle(struct qs_cell *cell) {
  if (phase_of(cell) != QS_CELL_RETIRED) qs_trap("a counter is returned twice, or while it is in use");
  for (uint32_t processor = 0; cell->slot != NULL && processor < processors; processor++) {
    uint64_t *slot = (uint64_t *)(cell->slot + ((size_t)processor << QS_SLOT_SHIFT));
    // Only where a thread has counted: a store would put the page on this thread's node.
    if (__atomic_load_n(slot, __ATOMIC_RELAXED) != 0) __atomic_store_n(slot, 0, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&cell->mode, (uint64_t)QS_CELL_FREE << 32, __ATOMIC_RELAXED);
  watch_thread();
  if (magazine.sizes[0] == BATCH) {
    // Both full: the older batch goes.
    if (magazine.sizes[1] != 0) give_batch(magazine.free[1], magazine.sizes[1]);
    magazine.free[1] = magazine.free[0];
    magazine.sizes[1] = magazine.sizes[0];
    magazine.free[0] = NULL;
    magazine.sizes[0] = 0;
  }
  *next_free(cell) = magazine.free[0];
  magazine.free[0] = cell;
  magazine.sizes[0]++;
}

// MARK: Locks

static pthread_mutex_t locks[LOCKS];

static pthread_mutex_t *lock_of(const struct qs_cell *cell) {
  return &locks[((uintptr_t)cell / sizeof *cell) % LOCKS];
}

void qs_cell_lock(const struct qs_cell *cell) { pthread_mutex_lock(lock_of(cell)); }
void qs_cell_unlock(const struct qs_cell *cell) { pthread_mutex_unlock(lock_of(cell)); }

static void before_fork(void) {
  for (int i = 0; i < LOCKS; i++) pthread_mutex_lock(&locks[i]);
  pthread_mutex_lock(&depot.lock);
}

static void after_fork_parent(void) {
  pthread_mutex_unlock(&depot.lock);
  for (int i = 0; i < LOCKS; i++) pthread_mutex_unlock(&locks[i]);
}

// The free cells of the threads that the child does not have stay in their magazines: lost to it,
// and harmless.
static void after_fork_child(void) {
  pthread_mutex_init(&depot.lock, NULL);
  for (int i = 0; i < LOCKS; i++) pthread_mutex_init(&locks[i], NULL);
}

// MARK: The start

// The highest number, as the kernel lists them ("0-3" or "0,2-7"), and one more. /sys may not be
// there; the affinity mask, which is as long as the kernel's largest number needs, always is.
static uint32_t count_processors(void) {
  char list[4096];
  int file = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, list, sizeof list - 1);
  if (file >= 0) close(file);
  if (length > 0) {
    list[length] = 0;
    char *last = list;
    for (char *c = list; *c != 0; c++)
      if (*c == ',' || *c == '-') last = c + 1;
    char *end;
    unsigned long highest = strtoul(last, &end, 10);
    if (end != last && highest < UINT16_MAX) return (uint32_t)highest + 1;
  }
  unsigned long mask[1024];
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  return bytes > 0 ? (uint32_t)bytes * 8 : 1024;
}

uint32_t qs_cell_processors(void) { return processors; }

struct qs_arena_usage qs_arena_usage(void) {
  pthread_mutex_lock(&depot.lock);
  struct qs_arena_usage usage = depot.usage;
  pthread_mutex_unlock(&depot.lock);
  return usage;
}

// Before other constructors, which may count already; and before the library watches for forks.
// Handlers run in the opposite order before a fork: these locks are taken last. The other way
// round, a fork would hold them while it waits for a grace period, and so for a reader that wants
// one.
__attribute__((constructor(101))) static void start(void) {
  processors = count_processors();
  for (int i = 0; i < LOCKS; i++) pthread_mutex_init(&locks[i], NULL);
  if (pthread_key_create(&end_key, end_magazine) != 0) qs_trap("no pthread key left for the threads' free counters");
  if (pthread_atfork(before_fork, after_fork_parent, after_fork_child) != 0)
    qs_trap("no memory to watch for forks");
}
