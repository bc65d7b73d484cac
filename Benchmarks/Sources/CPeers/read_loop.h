// The one loop of every peer that reads.
#pragma once

#include "peer_reads.h"

struct peer_cell {
  struct peer_item *item;
};

#define PEER_READ_LOOP(enter, load, leave)     \
  uint64_t sum = 0;                            \
  for (uint64_t i = 0; i < count; i++) {       \
    enter;                                     \
    const struct peer_item *item = load;       \
    sum += item->number;                       \
    leave;                                     \
  }                                            \
  return sum
