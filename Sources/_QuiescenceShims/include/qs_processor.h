// Processors: how many there are, which one this is.
#pragma once

#include <stdint.h>

/// Processors that are configured; at least 1. No bound for the numbers: processors may be numbered
/// with gaps, and a container may show fewer than there are.
uint32_t qs_processor_count(void);

/// The number of the processor that the calling thread runs on now: any number. It may move before
/// the caller looks.
uint32_t qs_processor_current(void);
