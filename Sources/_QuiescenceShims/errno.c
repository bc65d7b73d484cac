#define _GNU_SOURCE
#include "qs_errno.h"

#include <stddef.h>

// In glibc since 2.32. Weak, so that an older library works too, without the names.
extern const char *strerrorname_np(int error) __attribute__((weak));

const char *qs_errno_name(int error) {
  return strerrorname_np != NULL ? strerrorname_np(error) : NULL;
}
