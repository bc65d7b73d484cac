// The order that a flavor's grace periods give, as the thread sanitizer is told of it.
//
// Two tokens a flavor. One would order a reader after the sections of other readers, and hide a writer that frees
// what a section still reads: the reader of a later section would vouch for it.
#pragma once

#include "qs_sanitizer.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QS_ANNOUNCES 1
#endif
#endif
#if !defined(QS_ANNOUNCES)
#define QS_ANNOUNCES 0
#endif

struct order {
  /// Sections that were left, before the return of the synchronize that waited for them.
  long left;
  /// What a writer did before synchronize, before the sections that it did not wait for.
  long begun;
};

#if QS_ANNOUNCES
#include <sanitizer/tsan_interface.h>

void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);

/// Before the outermost leave, a quiescent state, going offline. The section reads an object; the writer frees it when
/// synchronize has returned: without this line and `order_waited`, a race of the read and the free.
static inline void order_leave(struct order *order) { __tsan_release(&order->left); }
/// After synchronize has waited; see `order_leave`.
static inline void order_waited(struct order *order) { __tsan_acquire(&order->left); }
/// Before synchronize starts. The writer fills a table and synchronizes, then sets a flag without order; a section that
/// sees the flag reads the table: without this line and `order_enter`, a race of the filling and the read.
static inline void order_begin(struct order *order) { __tsan_release(&order->begun); }
/// After the reader's word says that it is inside. Before, it would miss the synchronize that starts in between.
static inline void order_enter(struct order *order) { __tsan_acquire(&order->begun); }

/// Around calls that take liburcu's registry lock, which the sanitizer sees. A thread that registers after another one
/// ended would be ordered after all that the other one read, and might free it unreported.
static inline void order_hide_locks(void) { AnnotateIgnoreSyncBegin(__FILE__, __LINE__); }
static inline void order_show_locks(void) { AnnotateIgnoreSyncEnd(__FILE__, __LINE__); }
#else
static inline void order_leave(struct order *order) { (void)order; }
static inline void order_waited(struct order *order) { (void)order; }
static inline void order_begin(struct order *order) { (void)order; }
static inline void order_enter(struct order *order) { (void)order; }
static inline void order_hide_locks(void) {}
static inline void order_show_locks(void) {}
#endif
