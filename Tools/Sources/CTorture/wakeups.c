#include "torture_wakeups.h"

// Of the library's shims, which are no product: see qs_yields.h.
void qs_lose_wakeups(void);

void torture_lose_wakeups(void) { qs_lose_wakeups(); }
