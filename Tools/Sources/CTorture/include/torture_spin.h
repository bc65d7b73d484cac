// Keeping a processor busy, without touching memory.
#pragma once

static inline void torture_spin(long rounds) {
  for (long round = 0; round < rounds; round++) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
  }
}
