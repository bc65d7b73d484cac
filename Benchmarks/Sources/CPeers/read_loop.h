// The loops of every reading peer.
#pragma once

#include "peer.h"
#include "peer_place.h"

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

/// Defines `name_read` and `name_work` for cells of this type.
#define PEER_LOOPS(name, type, enter, load, leave)                                           \
  static uint64_t name##_read(void *opaque, int place, uint64_t count) {                     \
    type *cell = opaque;                                                                     \
    switch (place) {                                                                         \
      case 0: return PEER_SUM(peer_place_0, enter, load, leave);                             \
      case 1: return PEER_SUM(peer_place_16, enter, load, leave);                            \
      case 2: return PEER_SUM(peer_place_32, enter, load, leave);                            \
      default: return PEER_SUM(peer_place_48, enter, load, leave);                           \
    }                                                                                        \
  }                                                                                          \
  static uint64_t name##_work(void *opaque, uint64_t length, uint64_t count) {               \
    type *cell = opaque;                                                                     \
    uint64_t sum = 0;                                                                        \
    for (uint64_t i = 0; i < count; i++) {                                                   \
      enter;                                                                                 \
      const struct peer_item *item = load;                                                   \
      sum += peer_work(item->number, length);                                                \
      leave;                                                                                 \
    }                                                                                        \
    return sum;                                                                              \
  }
