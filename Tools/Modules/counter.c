// The smallest useful module: one hook that counts the datagrams that pass, and a line with the
// total in the host's log. Build it with build.sh, load it with `quiesce insmod counter`.
#include <stdatomic.h>
#include <stdio.h>

#include "quiesce_packet.h"

static const struct quiescent_host *host;
static struct quiescent_self *self;
static atomic_ulong count;

// Called for every datagram, by several threads at once, between two system calls of the relay. It
// must be short and must not block.
static int see(void *packet, void *context) {
  (void)packet;
  (void)context;
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
  return QUIESCENT_ACCEPT;
}

static int start(const struct quiescent_host *h, struct quiescent_self *s) {
  host = h;
  self = s;
  return host->register_hook(self, "forward", QUIESCE_PACKET_TYPE, 0, see, NULL);
}

// The host has unregistered the hook, and every call has returned: the count is final.
static int leave(void) {
  char line[64];
  snprintf(line, sizeof line, "saw %lu datagrams", atomic_load(&count));
  host->log(self, line);
  return 0;
}

QUIESCENT_MODULE(.name = "counter", .version = "1.0", .description = "Counts datagrams.",
                 .init = start, .exit = leave)
