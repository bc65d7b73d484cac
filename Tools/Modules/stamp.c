// The module of `quiesce demo --replace`: appends a byte to every datagram that passes, so that the
// receiver sees how often a datagram met the module, and which version it met. The versions are one
// file, and differ in a parameter. They count in a state that each goes on with.
#include <stdatomic.h>
#include <stdio.h>

#include "quiesce_packet.h"

static unsigned number;
QUIESCENT_PARAMETER(number, uint, "What it appends, modulo 256");

// Shared with the version before and the one after, while one replaces the other: atomic.
struct state {
  atomic_ulong datagrams;
};

static struct state *state;

static int stamp(void *argument, void *context) {
  struct quiesce_packet *packet = argument;
  (void)context;
  if (packet->length == packet->capacity) return QUIESCENT_DROP;
  packet->data[packet->length++] = (uint8_t)number;
  atomic_fetch_add_explicit(&state->datagrams, 1, memory_order_relaxed);
  return QUIESCENT_ACCEPT;
}

// The object "stamp": how many datagrams all versions have seen.
static long total(void *context, char *buffer, size_t capacity, uint64_t offset) {
  (void)context;
  char line[32];
  int length = snprintf(line, sizeof line, "%lu\n", atomic_load(&state->datagrams));
  if (offset >= (uint64_t)length) return 0;
  size_t count = (size_t)length - (size_t)offset;
  if (count > capacity) count = capacity;
  for (size_t i = 0; i < count; i++) buffer[i] = line[offset + i];
  return (long)count;
}

static int start(const struct quiescent_host *host, struct quiescent_self *self) {
  if (!QUIESCENT_HOST_HAS(host, state)) return -38;  // ENOSYS
  state = host->state(self);
  int error = host->publish(self, "stamp", total, NULL);
  if (error) return error;
  return host->register_hook(self, "forward", QUIESCE_PACKET_TYPE, 0, stamp, NULL);
}

static int leave(void) { return 0; }

QUIESCENT_MODULE(.name = "stamp", .version = "1.0", .description = "Appends a byte to each datagram.",
                 .init = start, .exit = leave, .state_version = 1, .state_size = sizeof(struct state))
