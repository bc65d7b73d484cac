// Restartable sequences: adding to the current processor's slot without an atomic instruction.
//
// A sequence is a short run of instructions that ends with its one store. The kernel knows where it starts and ends, and
// when it takes the processor away from a thread in between (preemption, migration, a signal), it sends the thread to
// the abort address instead of back: so whoever gets to the store is still on the processor whose number it has read,
// and nobody else has run on it meanwhile.
//
// The other half is `membarrier(PRIVATE_EXPEDITED_RSEQ)`: it interrupts every processor that runs this process, which
// aborts the sequences that are under way there. Who changes a cell's mode and passes that barrier knows that nobody will
// still add to a slot for having read the old mode: they restart and read the new one.
//
// Sources: rseq(2), membarrier(2), linux/rseq.h; tools/testing/selftests/rseq in the kernel; glibc's manual, "Restartable
// Sequences". glibc from 2.35 on registers every thread.
#pragma once

#include <stddef.h>

#include "qs_arena.h"

/// Where each thread's `struct rseq` lies, from its thread pointer. Without rseq, it leads to a stand-in that names a
/// processor which no cell counts on.
extern ptrdiff_t qs_rseq_offset;

/// Offsets in `struct rseq`, part of the kernel's interface.
#define QS_RSEQ_CPU_ID 4
#define QS_RSEQ_CS 8

/// Why sequences cannot be used in this process; NULL when they can. Set before main.
const char *qs_rseq_refusal(void);

/// The number of the next barrier that starts: who changed a mode before this call can rely on it.
uint64_t qs_rseq_next_barrier(void);

/// Returns when the barrier of that number has passed. Issues it if nobody has: calls for the same number share one.
void qs_rseq_pass_barrier(uint64_t number);

/// Barriers issued so far: each is one system call.
uint64_t qs_rseq_barriers(void);

// For the tests' variants of the sequence: one that takes so long between its test and its commit that it is interrupted
// there, and one that is not announced, so that nothing restarts it. Empty, and as it is, anywhere else.
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
