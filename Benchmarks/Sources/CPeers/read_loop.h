// The one loop of every peer that reads.
#pragma once

#include "peer_place.h"
#include "peer_reads.h"

struct peer_cell {
  struct peer_item *item;
};

#define PEER_SUM(place, enter, load, leave)    \
  ({                                           \
    uint64_t sum = 0;                          \
    place();                                   \
    for (uint64_t i = 0; i < count; i++) {     \
      enter;                                   \
      const struct peer_item *item = load;     \
      sum += item->number;                     \
      leave;                                   \
    }                                          \
    sum;                                       \
  })

/// Ends the function with the sum of the loop at that place.
#define PEER_READ_LOOP(place, enter, load, leave)                   \
  switch (place) {                                                  \
    case 0: return PEER_SUM(peer_place_0, enter, load, leave);      \
    case 1: return PEER_SUM(peer_place_16, enter, load, leave);     \
    case 2: return PEER_SUM(peer_place_32, enter, load, leave);     \
    default: return PEER_SUM(peer_place_48, enter, load, leave);    \
  }
