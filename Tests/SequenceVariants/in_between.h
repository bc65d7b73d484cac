// Takes time between the test and the commit, without changing a register: microseconds.
// A grace period begins with the system call of a heavy fence. A sequence that does not take longer
// than that has committed before the cells are exchanged, and a missing barrier is not noticed.
#pragma once

#if defined(__x86_64__)
#define QS_RSEQ_IN_BETWEEN ".rept 512\n\tpause\n\t.endr\n\t"
#elif defined(__aarch64__)
#define QS_RSEQ_IN_BETWEEN ".rept 512\n\tisb\n\t.endr\n\t"
#endif
