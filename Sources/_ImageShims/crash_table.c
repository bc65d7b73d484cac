#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qs_crash.h"

struct qs_module_table qs_module_table = {
    .version = QS_MODULE_TABLE_VERSION,
    .record_size = sizeof(struct qs_module_record),
    .capacity = QS_MODULE_CAPACITY,
};

// Readers may be signal handlers, and take no lock. A reader that finds the sequence odd, or
// changed after it has copied the record, has seen a mixture of two loads and tries again.
static void change_begin(struct qs_module_record *record) {
  uint32_t sequence = __atomic_load_n(&record->sequence, __ATOMIC_RELAXED);
  __atomic_store_n(&record->sequence, sequence + 1, __ATOMIC_RELAXED);
  // No store below may become visible before the odd number.
  atomic_thread_fence(memory_order_release);
}

static void change_end(struct qs_module_record *record) {
  __atomic_store_n(&record->sequence, record->sequence + 1, __ATOMIC_RELEASE);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void copy_text(char *to, size_t size, const char *from) {
  size_t length = from == NULL ? 0 : strnlen(from, size - 1);
  if (length > 0) memcpy(to, from, length);
  memset(to + length, 0, size - length);
}

int qs_module_record_begin(const char *name, const char *version, const char *path) {
  int best = -1;
  for (int index = 0; index < (int)QS_MODULE_CAPACITY; index++) {
    struct qs_module_record *record = &qs_module_table.records[index];
    if (record->state == QS_MODULE_UNUSED) {
      best = index;
      break;
    }
    if (record->state == QS_MODULE_GONE &&
        (best < 0 || record->changed < qs_module_table.records[best].changed))
      best = index;
  }
  if (best < 0) return -1;
  struct qs_module_record *record = &qs_module_table.records[best];
  change_begin(record);
  record->state = QS_MODULE_MAPPING;
  record->thread = gettid();
  record->start = record->end = 0;
  record->changed = now();
  copy_text(record->name, sizeof record->name, name);
  copy_text(record->version, sizeof record->version, version);
  copy_text(record->path, sizeof record->path, path);
  change_end(record);
  return best;
}

void qs_module_record_place(int index, uintptr_t start, uintptr_t end) {
  if (index < 0) return;
  struct qs_module_record *record = &qs_module_table.records[index];
  change_begin(record);
  record->start = start;
  record->end = end;
  record->state = QS_MODULE_LOADED;
  record->changed = now();
  change_end(record);
}

void qs_module_record_state(int index, uint32_t state) {
  if (index < 0) return;
  struct qs_module_record *record = &qs_module_table.records[index];
  change_begin(record);
  record->state = state;
  record->changed = now();
  change_end(record);
}

int qs_module_record_copy(int index, struct qs_module_record *copy) {
  struct qs_module_record *record = &qs_module_table.records[index];
  // The writer may be the thread that this handler interrupted, and never end the change.
  for (int attempt = 0; attempt < 1000; attempt++) {
    uint32_t before = __atomic_load_n(&record->sequence, __ATOMIC_ACQUIRE);
    if (before % 2 == 1) continue;
    *copy = *record;
    atomic_thread_fence(memory_order_acquire);
    if (__atomic_load_n(&record->sequence, __ATOMIC_RELAXED) == before)
      return copy->state == QS_MODULE_UNUSED ? -1 : 0;
  }
  return -1;
}

int qs_module_record_at(uintptr_t address) {
  int found = -1;
  struct qs_module_record best = {0}, copy;
  for (int index = 0; index < (int)QS_MODULE_CAPACITY; index++) {
    // Most records are of other addresses: only those that may match are copied.
    const struct qs_module_record *record = &qs_module_table.records[index];
    if (address < __atomic_load_n(&record->start, __ATOMIC_RELAXED)) continue;
    if (address >= __atomic_load_n(&record->end, __ATOMIC_RELAXED)) continue;
    if (qs_module_record_copy(index, &copy) != 0) continue;
    if (address < copy.start || address >= copy.end) continue;
    int is_gone = copy.state == QS_MODULE_GONE, best_is_gone = best.state == QS_MODULE_GONE;
    if (found < 0 || (best_is_gone && !is_gone) ||
        (best_is_gone == is_gone && copy.changed > best.changed)) {
      found = index;
      best = copy;
    }
  }
  return found;
}
