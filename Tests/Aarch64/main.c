// Runs the sequence's instructions on two slots: first on the thread's own registration, if the
// kernel has rseq(2); then on a stand-in for `struct rseq` that names one processor after the
// other.
#include "qs_rseq.h"

#include <stdio.h>
#include <stdlib.h>

void qs_trap(const char *line) {
  fprintf(stderr, "Fatal error: %s\n", line);
  abort();
}

static int failures;
static void expect(bool is_true, const char *what) {
  if (!is_true) fprintf(stderr, "not so: %s\n", what);
  failures += !is_true;
}

static uint64_t live(uint32_t processors) { return (uint64_t)QS_CELL_FIRST_PHASE << 32 | processors; }

static struct {
  uint32_t cpu_id_start, cpu_id;
  uint64_t cs;
} registration;

static bool add_on(uint32_t processor, struct qs_cell *cell, int64_t difference) {
  registration.cpu_id = processor;
  bool result = qs_rseq_add(cell, difference);
  expect(registration.cs == 0, "nothing is announced afterwards");
  return result;
}

int main(void) {
  struct qs_cell *cell = qs_cell_create();
  int64_t *slots[2];
  for (int i = 0; i < 2; i++) slots[i] = (int64_t *)(cell->slot + ((size_t)i << QS_SLOT_SHIFT));
  cell->mode = live(qs_cell_processors());
  const char *refusal = qs_rseq_refusal();
  expect(qs_rseq_add(cell, 1) == (refusal == NULL), "a registered thread counts, another does not");
  expect(qs_cell_processors() >= 2, "there are two slots");
  for (uint32_t i = 0; i < qs_cell_processors(); i++) *(int64_t *)(cell->slot + ((size_t)i << QS_SLOT_SHIFT)) = 0;

  qs_rseq_offset = (char *)&registration - (char *)__builtin_thread_pointer();
  cell->mode = live(2);
  expect(add_on(0, cell, 1), "processor 0");
  expect(add_on(1, cell, 7), "processor 1");
  expect(add_on(1, cell, -2), "one less");
  expect(!add_on(2, cell, 1), "a processor without a slot");
  expect(!add_on(UINT32_MAX, cell, 1), "a thread that is not registered");
  cell->mode = live(0);
  expect(!add_on(0, cell, 1), "a mode that is not live");
  expect(*slots[0] == 1 && *slots[1] == 5, "the slots hold 1 and 5");

  printf("%s; the kernel's part: %s\n", failures == 0 ? "the sequence counts right" : "WRONG",
         refusal == NULL ? "registered" : refusal);
  return failures != 0;
}
