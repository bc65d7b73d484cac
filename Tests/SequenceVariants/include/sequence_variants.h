// The library's restartable sequence, altered to test it: see Sources/_QuiescenceShims/include/qs_rseq.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// `qs_rseq_add`, with a microsecond or so between its test and its commit.
bool add_by_long_sequence(void *cell, int64_t difference);

/// The same, never announced to the kernel: nothing sends it back to its start. A mutant.
bool add_by_unannounced_sequence(void *cell, int64_t difference);
