// Restartable sequences: adding to the current processor's slot without an atomic instruction.
//
// A sequence is a short run of instructions that ends with its only store. The kernel knows where
// it starts and ends. If the kernel interrupts a thread in between (by preemption, migration or a
// signal), the thread continues at the abort address. So a thread that executes the store is still
// on the processor whose number it has read, and no other thread has run on that processor in
// between.
//
// The other half is `membarrier(PRIVATE_EXPEDITED_RSEQ)`: it interrupts every processor that runs
// this process, which aborts the sequences in progress there. After a thread has changed a cell's
// mode and issued that barrier, no sequence that has read the old mode can still add to a slot:
// each restarts and reads the new mode.
//
// Sources: rseq(2), membarrier(2), linux/rseq.h; tools/testing/selftests/rseq in the kernel;
// glibc's manual, "Restartable Sequences". glibc 2.35 and later register every thread.
#pragma once

#include <stddef.h>

#include "qs_arena.h"

/// The offset of each thread's `struct rseq` from its thread pointer. Without rseq, the offset of a
/// stand-in with a processor number that no cell counts on.
extern ptrdiff_t qs_rseq_offset;

/// Offsets in `struct rseq`, which are part of the kernel's interface.
#define QS_RSEQ_CPU_ID 4
#define QS_RSEQ_CS 8

/// Why this process cannot use sequences; NULL if it can. Set before main.
const char *qs_rseq_refusal(void);

/// The number of the next barrier that starts. A caller that has stored a mode before this call can
/// rely on that barrier.
uint64_t qs_rseq_next_barrier(void);

/// Returns after the barrier of that number has passed. Issues it if no other thread has: calls for
/// the same number share one barrier.
void qs_rseq_pass_barrier(uint64_t number);

/// The number of barriers so far. Each is one system call.
uint64_t qs_rseq_barriers(void);

// Hooks for the tests' variants of the sequence: one takes so long between its test and its commit
// that it is interrupted there; one is not announced, so nothing restarts it. In the library, the
// first is empty and the second has no effect.
#if !defined(QS_RSEQ_IN_BETWEEN)
#define QS_RSEQ_IN_BETWEEN
#endif
#if !defined(QS_RSEQ_ANNOUNCE)
#define QS_RSEQ_ANNOUNCE(instructions) instructions
#endif

#if defined(__x86_64__)
#include "qs_rseq_x86_64.h"
#elif defined(__aarch64__)
#include "qs_rseq_aarch64.h"
#else
#define QS_RSEQ_MISSING "no restartable sequence was written for this architecture"
static inline bool qs_rseq_add(struct qs_cell *cell, int64_t difference) {
  (void)cell, (void)difference;
  return false;
}
#endif
