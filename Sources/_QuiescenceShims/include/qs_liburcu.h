// Includes liburcu with its read side inline, unless QUIESCENCE_OUT_OF_LINE is defined.
//
// _LGPL_SOURCE makes liburcu's read side `static inline`. QUIESCENCE_OUT_OF_LINE (swift build -Xcc
// -DQUIESCENCE_OUT_OF_LINE) calls into the shared library instead: see NOTICE.
#pragma once

#if !defined(QUIESCENCE_OUT_OF_LINE) && !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE
#endif

// Thread: half of the accesses of liburcu's protocol are in its assembly and its shared library,
// which the sanitizer does not see; it would report the other half as races. See qs_sanitizer.h for
// what is announced instead. Alignment: liburcu-bp before 0.15 aligns reader structures to 32 bytes
// that are declared with an alignment of 128.
#if defined(__clang__)
#define QS_UNSANITIZED __attribute__((no_sanitize("thread", "alignment")))
#pragma clang attribute push(QS_UNSANITIZED, apply_to = function)
#else
#define QS_UNSANITIZED
#endif
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#if defined(__clang__)
#pragma clang attribute pop
#endif
