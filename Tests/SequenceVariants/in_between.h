// Takes time between the test and the commit, without changing a register.
#pragma once

#if defined(__x86_64__)
#define QS_RSEQ_IN_BETWEEN ".rept 64\n\tpause\n\t.endr\n\t"
#elif defined(__aarch64__)
#define QS_RSEQ_IN_BETWEEN ".rept 64\n\tisb\n\t.endr\n\t"
#endif
