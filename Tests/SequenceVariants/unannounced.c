#include "in_between.h"
#define QS_RSEQ_ANNOUNCE(instructions) "\n"
#include "qs_rseq.h"
#include "sequence_variants.h"

bool add_by_unannounced_sequence(void *cell, int64_t difference) { return qs_rseq_add(cell, difference); }
