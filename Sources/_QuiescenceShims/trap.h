// The end of the process after a misuse or an exhausted resource that no caller can handle.
#pragma once

/// Writes "Fatal error: `line`" to standard error and aborts.
void qs_trap(const char *line) __attribute__((noreturn, cold));

/// The trap where membarrier(2) fails that the process relies on.
__attribute__((noreturn, cold)) static inline void qs_membarrier_refused(void) {
  qs_trap(
      "membarrier(2) has worked before and is refused now: install the seccomp filter before the process starts, or use "
      "MB and QSBR alone");
}
