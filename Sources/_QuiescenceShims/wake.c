#define _GNU_SOURCE
#include "wake.h"

static uint32_t limit = 32;
static bool loses;

uint32_t qs_yield_limit(void) { return __atomic_load_n(&limit, __ATOMIC_RELAXED); }
void qs_set_yield_limit(uint32_t value) { __atomic_store_n(&limit, value, __ATOMIC_RELAXED); }

bool qs_wakeups_are_lost(void) { return __atomic_load_n(&loses, __ATOMIC_RELAXED); }
void qs_lose_wakeups(void) { __atomic_store_n(&loses, true, __ATOMIC_RELAXED); }
