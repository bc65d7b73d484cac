// The measuring loops of liburcu's own test programs, written anew: `test_urcu` (tests/benchmark) and the performance
// part of `rcutorture` (tests/regression).
#pragma once

#include <stdint.h>

/// The number of a flavor below.
enum peer_flavor { PEER_MEMB, PEER_MB, PEER_BP, PEER_QSBR };

/// Set to 1 by whoever ends a run.
struct peer_run;
struct peer_run *peer_run_make(void);
void peer_run_stop(struct peer_run *run);
void peer_run_free(struct peer_run *run);

// Each runs until it is stopped, and returns how many operations it has done; 0 when it read a wrong number.

/// test_urcu's reader: a section, the pointer, a look at what it points to.
uint64_t peer_test_read(struct peer_run *run, enum peer_flavor flavor);

/// test_urcu's writer: allocates, exchanges, synchronizes, frees.
uint64_t peer_test_write(struct peer_run *run, enum peer_flavor flavor);

/// rcutorture's perf reader: empty sections, a thousand between two looks at the clock.
uint64_t peer_perf_read(struct peer_run *run, enum peer_flavor flavor);

/// rcutorture's perf updater: synchronizes and does nothing else.
uint64_t peer_perf_update(struct peer_run *run, enum peer_flavor flavor);
