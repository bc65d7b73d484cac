#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "relay_io.h"

struct relay_inbox {
  _Atomic(struct relay_packet *) head;
  atomic_size_t references;
  int descriptor;
  void (*orphan)(struct relay_packet *packet);
};

// The head of a closed inbox: an address that no packet can have.
static struct relay_packet *const closed = (struct relay_packet *)8;

static int attach(struct quiesce_packet *packet, void (*callback)(void *), void *context) {
  struct relay_packet *self = relay_packet_of(packet);
  if (self->attachment_count == QUIESCE_PACKET_ATTACHMENTS) return -ENOSPC;
  self->attachments[self->attachment_count++] =
      (struct relay_attachment){.callback = callback, .context = context};
  return 0;
}

static void give_back(struct relay_packet *packet) {
  struct relay_inbox *inbox = packet->inbox;
  // Once the packet is on the stack, the worker may take it and release all other references,
  // before this thread has written the eventfd.
  relay_inbox_retain(inbox);
  struct relay_packet *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);
  do {
    if (head == closed) break;
    packet->next = head;
    // Release: the worker that takes the packet sees what the module wrote to it.
  } while (!atomic_compare_exchange_weak_explicit(&inbox->head, &head, packet, memory_order_release,
                                                  memory_order_relaxed));
  if (head == closed) {
    inbox->orphan(packet);
  } else if (head == NULL) {
    relay_inbox_wake(inbox);
  }
  relay_inbox_release(inbox);
}

static void resume(struct quiesce_packet *packet) { give_back(relay_packet_of(packet)); }

static void discard(struct quiesce_packet *packet) {
  relay_packet_of(packet)->discarded = true;
  give_back(relay_packet_of(packet));
}

struct relay_packet *relay_packet_create(struct relay_inbox *inbox) {
  struct relay_packet *packet = calloc(1, sizeof *packet);
  if (packet == NULL) return NULL;
  packet->buffer = mmap(NULL, RELAY_PACKET_CAPACITY, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (packet->buffer == MAP_FAILED) {
    free(packet);
    return NULL;
  }
  packet->inbox = inbox;
  packet->packet.attach = attach;
  packet->packet.resume = resume;
  packet->packet.discard = discard;
  relay_packet_reset(packet);
  return packet;
}

void relay_packet_free(struct relay_packet *packet) {
  munmap(packet->buffer, RELAY_PACKET_CAPACITY);
  free(packet);
}

void relay_packet_reset(struct relay_packet *packet) {
  packet->packet.data = packet->buffer;
  packet->packet.length = 0;
  packet->packet.capacity = RELAY_PACKET_CAPACITY;
  packet->packet.source_length = 0;
  packet->packet.destination_length = 0;
  packet->stage = 0;
  packet->discarded = false;
  packet->truncated = false;
  packet->attachment_count = 0;
  packet->local.length = 0;
}

void relay_packet_finish(struct relay_packet *packet) {
  for (uint32_t i = 0; i < packet->attachment_count; i++)
    packet->attachments[i].callback(packet->attachments[i].context);
  packet->attachment_count = 0;
}

bool relay_packet_source(const struct relay_packet *packet, struct relay_address *source) {
  return relay_address_read(&packet->packet.source, packet->packet.source_length, source);
}

void relay_packet_set_source(struct relay_packet *packet, struct relay_address source) {
  packet->packet.source_length = relay_address_write(source, &packet->packet.source);
}

void relay_packet_set_destination(struct relay_packet *packet, struct relay_address destination) {
  packet->packet.destination_length = relay_address_write(destination, &packet->packet.destination);
}

struct relay_inbox *relay_inbox_create(void (*orphan)(struct relay_packet *packet)) {
  struct relay_inbox *inbox = calloc(1, sizeof *inbox);
  if (inbox == NULL) return NULL;
  inbox->descriptor = relay_bell_create();
  if (inbox->descriptor < 0) {
    errno = -inbox->descriptor;
    free(inbox);
    return NULL;
  }
  inbox->orphan = orphan;
  atomic_init(&inbox->references, 1);
  return inbox;
}

int relay_inbox_descriptor(const struct relay_inbox *inbox) { return inbox->descriptor; }

void relay_inbox_retain(struct relay_inbox *inbox) {
  atomic_fetch_add_explicit(&inbox->references, 1, memory_order_relaxed);
}

void relay_inbox_release(struct relay_inbox *inbox) {
  // Acquire and release: the thread that frees the inbox does so after every other thread's use.
  if (atomic_fetch_sub_explicit(&inbox->references, 1, memory_order_acq_rel) != 1) return;
  close(inbox->descriptor);
  free(inbox);
}

void relay_inbox_wake(struct relay_inbox *inbox) { relay_bell_ring(inbox->descriptor); }

struct relay_packet *relay_inbox_take(struct relay_inbox *inbox) {
  uint64_t count;
  // The eventfd first: a thread that returns a packet after the exchange finds the stack empty, and
  // writes the eventfd again.
  while (read(inbox->descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
  return atomic_exchange_explicit(&inbox->head, NULL, memory_order_acquire);
}

struct relay_packet *relay_inbox_close(struct relay_inbox *inbox) {
  return atomic_exchange_explicit(&inbox->head, closed, memory_order_acquire);
}
