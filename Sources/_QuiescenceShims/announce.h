// What the thread sanitizer is told at the edges of a section of a flavor whose reader word holds the nesting depth.
#pragma once

#include "order.h"
#include "qs_sanitizer.h"

// Whether the readers' words tell the depth of their sections, and can carry QS_ANNOUNCED.
#if QS_ANNOUNCES && defined(QS_ANNOUNCED)
#define ANNOUNCES_DEPTH 1

// The section was opened at depth 1. The inline enter that follows counts on from what this makes of it.
QS_UNSANITIZED static void announce_enter(unsigned long *word, struct order *order) {
  _CMM_STORE_SHARED(*word, *word - URCU_GP_COUNT + QS_ANNOUNCED);
  order_enter(order);
}

// liburcu's unlock, which follows, ends the section when it finds depth 1. Nested leaves end nothing.
QS_UNSANITIZED static void announce_leave(unsigned long *word, struct order *order) {
  if ((*word & URCU_GP_CTR_NEST_MASK) != QS_ANNOUNCED + URCU_GP_COUNT) return;
  order_leave(order);
  _CMM_STORE_SHARED(*word, *word - QS_ANNOUNCED);
}
#endif
