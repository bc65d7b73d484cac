// The benchmark loops of liburcu's own test programs, written anew: `test_urcu` (tests/benchmark)
// and the performance part of `rcutorture` (tests/regression).
#pragma once

#include <stdint.h>

/// The flavors below.
enum peer_flavor { PEER_MEMB, PEER_MB, PEER_BP, PEER_QSBR };

/// The state of a run, and whether it was stopped.
struct peer_run;
struct peer_run *peer_run_make(void);
void peer_run_stop(struct peer_run *run);
void peer_run_free(struct peer_run *run);

// Each loop runs until it is stopped, and returns the number of operations; 0 if it has read a
// wrong number.

/// test_urcu's reader: a section that loads the pointer and reads the number behind it.
uint64_t peer_test_read(struct peer_run *run, enum peer_flavor flavor);

/// test_urcu's writer: allocates, exchanges, synchronizes, frees.
uint64_t peer_test_write(struct peer_run *run, enum peer_flavor flavor);

/// rcutorture's perf reader: empty sections, a thousand between two tests for the end.
uint64_t peer_perf_read(struct peer_run *run, enum peer_flavor flavor);

/// rcutorture's perf updater: synchronizes and does nothing else.
uint64_t peer_perf_update(struct peer_run *run, enum peer_flavor flavor);
