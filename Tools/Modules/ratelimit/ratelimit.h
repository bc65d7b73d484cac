// What the two files of the module share: its parameters.
#pragma once

#include "module_kit.h"
#include "quiesce_packet.h"

SWIFT_PARAMETER(uint32_t, rate)
SWIFT_PARAMETER(uint32_t, burst)
