// Altered forms of the library's restartable sequence, for tests; see
// Sources/_QuiescenceShims/include/qs_rseq.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// `qs_rseq_add` with about a microsecond between its test and its commit.
bool add_by_long_sequence(void *cell, int64_t difference);

/// The same, but never announced to the kernel, so nothing restarts it: a mutant.
bool add_by_unannounced_sequence(void *cell, int64_t difference);
