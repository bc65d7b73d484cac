// How the shims reach the thread sanitizer, and a build without it stays as it is.
//
// The sanitizer sees neither liburcu's assembly nor its shared library, so the order that liburcu
// gives has to be announced. But the compiler that inlines the shims into Swift code does not say
// whether it builds for the sanitizer; only the C files know. So the inline shims announce nothing;
// in such builds the C files lead them out of line, by what they test anyway:
//
// - Entering tests whether the thread is registered. The C files never say that it is, and every
//   enter takes the cold way.
// - The cold way opens the section with QS_ANNOUNCED in its nesting depth. So no leave is the one
//   that an inline leave expects, that of depth 1, and every leave takes the cold way as well.
// - A quiescent state takes its cold way when a grace period waits for the thread: otherwise there
//   is nothing to announce.
#pragma once

#include "qs_liburcu.h"

#if !defined(QUIESCENCE_OUT_OF_LINE)
/// The top bit of the nesting depth in a reader's word: the section is left out of line. Without
/// the thread sanitizer, only where the thread is about to end, and registers for one section at a
/// time: see leave.c.
#define QS_ANNOUNCED (URCU_GP_CTR_PHASE >> 1)
#endif

/// After a task has waited for a continuation: what came before the resume happens before what
/// follows. The runtime tells the sanitizer so when it has to wake the task, but not when the
/// resume comes before the task is asleep.
void qs_task_resumed(void);
