// Processors: how many there can be, which one this is.
#pragma once

#include <stdint.h>

/// Processors that the system may ever bring up: a bound for `qs_processor_current`.
uint32_t qs_processor_count(void);

/// The processor that the calling thread runs on now. It may move before the caller looks.
uint32_t qs_processor_current(void);
