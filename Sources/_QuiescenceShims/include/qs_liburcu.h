// How the shims see liburcu: with its read side inline, unless told otherwise.
//
// _LGPL_SOURCE makes liburcu's read side `static inline`. QUIESCENCE_OUT_OF_LINE
// (swift build -Xcc -DQUIESCENCE_OUT_OF_LINE) calls into the shared library instead: see NOTICE.
#pragma once

#if !defined(QUIESCENCE_OUT_OF_LINE) && !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE
#endif

// The accesses of liburcu's own protocol: half of them are in its assembly and in its shared library, where the
// thread sanitizer is blind, and it would take the other half for races. qs_sanitizer.h says what it is told instead.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_sanitize("thread"))), apply_to = function)
#endif
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#if defined(__clang__)
#pragma clang attribute pop
#endif
