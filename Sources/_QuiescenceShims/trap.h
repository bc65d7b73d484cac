// The end of the process after a misuse or an exhausted resource that no caller can handle.
#pragma once

/// Writes "Fatal error: `line`" to standard error and aborts.
void qs_trap(const char *line) __attribute__((noreturn, cold));
