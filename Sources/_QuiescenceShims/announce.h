// The edges of a section that is left out of line, of a flavor whose reader word holds the nesting
// depth: what the thread sanitizer is told there. Without the sanitizer, only the sections at the
// end of a thread are such: see leave.c.
#pragma once

#include "order.h"
#include "qs_sanitizer.h"

// Where the readers' words can carry QS_ANNOUNCED. Where they cannot, every leave is out of line.
#if defined(QS_ANNOUNCED)
// The section was opened at depth 1. The enter counts on from what this makes of it.
QS_UNSANITIZED static inline void announce_enter(unsigned long *word, struct order *order) {
  _CMM_STORE_SHARED(*word, *word - URCU_GP_COUNT + QS_ANNOUNCED);
  order_enter(order);
}

// liburcu's unlock, which follows, ends the section when it finds depth 1. Nested leaves end
// nothing.
QS_UNSANITIZED static inline void announce_leave(unsigned long *word, struct order *order) {
  if ((*word & URCU_GP_CTR_NEST_MASK) != QS_ANNOUNCED + URCU_GP_COUNT) return;
  order_leave(order);
  _CMM_STORE_SHARED(*word, *word - QS_ANNOUNCED);
}
#endif
