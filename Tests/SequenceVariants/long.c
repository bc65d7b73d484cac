#include "in_between.h"
#include "qs_rseq.h"
#include "sequence_variants.h"

bool add_by_long_sequence(void *cell, int64_t difference) { return qs_rseq_add(cell, difference); }
