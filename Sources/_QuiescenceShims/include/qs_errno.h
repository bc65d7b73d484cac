// Names of error numbers.
#pragma once

/// The name, such as "ENOENT" for 2; NULL if the C library does not know the number.
const char *qs_errno_name(int error);
