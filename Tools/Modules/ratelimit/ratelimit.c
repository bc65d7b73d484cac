// The declaration of the module; its code is in ratelimit.swift.
#include "ratelimit.h"

uint32_t rate = 1000;
uint32_t burst = 100;

QUIESCENT_PARAMETER(rate, uint, "Datagrams per second from each address", .minimum = 1,
                    .maximum = 1000000000, .flags = QUIESCENT_WRITABLE);
QUIESCENT_PARAMETER(burst, uint, "Datagrams that an address may send at once", .minimum = 1,
                    .maximum = 1000000, .flags = QUIESCENT_WRITABLE);

SWIFT_MODULE(.name = "ratelimit", .version = "1.0",
             .description = "Limits the datagrams of each client address.")
