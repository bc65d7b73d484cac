// The order that a flavor's grace periods establish, as announced to the thread sanitizer.
//
// There are two tokens per flavor. A single token would also order a reader after the sections of
// other readers. That would hide a writer that frees what a section still reads: the reader of a
// later section would appear to order the two.
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
  /// Sections that were left before the return of the synchronize that waited for them.
  long left;
  /// The writer's accesses before synchronize, ordered before the sections that it did not wait
  /// for.
  long begun;
};

#if QS_ANNOUNCES
#include <sanitizer/tsan_interface.h>

void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);

/// Before the outermost leave, a quiescent state, and going offline. The section reads an object;
/// the writer frees it after synchronize has returned. Without this line and `order_waited`, the
/// sanitizer would report a race between the read and the free.
static inline void order_leave(struct order *order) { __tsan_release(&order->left); }
/// After synchronize has waited; see `order_leave`.
static inline void order_waited(struct order *order) { __tsan_acquire(&order->left); }
/// Before synchronize starts. The writer fills a table, synchronizes, and then sets a flag without
/// ordering; a section that sees the flag reads the table. Without this line and `order_enter`, the
/// sanitizer would report a race between the filling and the read.
static inline void order_begin(struct order *order) { __tsan_release(&order->begun); }
/// After the reader's word says that it is inside. Earlier, it could miss a synchronize that starts
/// in between.
static inline void order_enter(struct order *order) { __tsan_acquire(&order->begun); }

/// Around calls that take liburcu's registry lock, which the sanitizer sees. Otherwise a thread
/// that registers after another one has ended would be ordered after everything that the other one
/// has read, and a free by it would not be reported.
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
