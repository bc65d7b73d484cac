// How the shims see liburcu: with its read side inline, unless told otherwise.
//
// _LGPL_SOURCE makes liburcu's read side `static inline`. QUIESCENCE_OUT_OF_LINE
// (swift build -Xcc -DQUIESCENCE_OUT_OF_LINE) calls into the shared library instead: see NOTICE.
#pragma once

#if !defined(QUIESCENCE_OUT_OF_LINE) && !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE
#endif

// Thread: half of the accesses of liburcu's protocol are in its assembly and in its shared library, where the sanitizer
// is blind, and it would take the other half for races. qs_sanitizer.h says what it is told instead.
// Alignment: liburcu-bp before 0.15 hands out reader structures at 32 bytes that are declared to be at 128.
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
