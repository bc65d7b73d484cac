// Names of error numbers.
#pragma once

/// "ENOENT" for 2, or NULL when the C library does not know the number.
const char *qs_errno_name(int error);
