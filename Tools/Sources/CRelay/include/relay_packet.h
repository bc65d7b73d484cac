// The relay's side of a packet: its buffer, its attachments, and the way back to its worker.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quiesce_packet.h"
#include "relay_address.h"

/// Room for every datagram that UDP can carry without jumbograms, so that none is ever cut.
#define RELAY_PACKET_CAPACITY 65536u

struct relay_inbox;

struct relay_attachment {
  void (*callback)(void *context);
  void *context;
};

/// The local address and interface of a datagram, as ancillary data. For listeners on every address: many
/// clients refuse an answer from another address than the one that they asked.
struct relay_local {
  uint32_t length;  ///< 0 when it is not known
  _Alignas(8) uint8_t bytes[40];
};

/// `packet` is what modules see; the rest is the relay's.
struct QUIESCE_PACKET_IN_PLACE relay_packet {
  struct quiesce_packet packet;
  uint8_t *buffer;            ///< `packet.data`, where no module can change it
  struct relay_inbox *inbox;  ///< its worker's
  struct relay_packet *next;  ///< in an inbox
  uint32_t stage;             ///< the hook points that it has entered
  bool discarded;             ///< came back through `discard`
  bool truncated;             ///< did not fit into the buffer when it was received
  uint32_t attachment_count;
  struct relay_attachment attachments[QUIESCE_PACKET_ATTACHMENTS];
  struct relay_local local;  ///< where it came in, or goes out from
};

/// A packet with a buffer, or NULL without memory. Its pages are touched as datagrams need them.
struct relay_packet *relay_packet_create(struct relay_inbox *inbox);

void relay_packet_free(struct relay_packet *packet);

/// Makes it ready to receive into.
void relay_packet_reset(struct relay_packet *packet);

/// Runs what is attached, in the order of attachment. The caller is inside a section.
void relay_packet_finish(struct relay_packet *packet);

/// Where it came from; false when that is no address of a family that the relay knows.
bool relay_packet_source(const struct relay_packet *packet, struct relay_address *source);
void relay_packet_set_source(struct relay_packet *packet, struct relay_address source);
void relay_packet_set_destination(struct relay_packet *packet, struct relay_address destination);

/// What `packet` is the first field of.
static inline struct relay_packet *relay_packet_of(struct quiesce_packet *packet) {
  return (struct relay_packet *)packet;
}

/// Where packets come back to their worker from any thread: a stack without a lock, and an eventfd that is
/// written when the stack was empty. Counted: one for the worker, one for every stolen packet, and one for
/// every thread that is giving a packet back.
struct relay_inbox;

/// An inbox and its eventfd, or NULL with errno set. `orphan` takes packets that come back after
/// `relay_inbox_close`, on the thread that gives them back.
struct relay_inbox *relay_inbox_create(void (*orphan)(struct relay_packet *packet));

/// The eventfd to wait on.
int relay_inbox_descriptor(const struct relay_inbox *inbox);

void relay_inbox_retain(struct relay_inbox *inbox);
void relay_inbox_release(struct relay_inbox *inbox);

/// Makes the worker look into its inbox.
void relay_inbox_wake(struct relay_inbox *inbox);

/// Takes every packet, newest first, and clears the eventfd.
struct relay_packet *relay_inbox_take(struct relay_inbox *inbox);

/// As `relay_inbox_take`, and from now on packets go to `orphan`.
struct relay_packet *relay_inbox_close(struct relay_inbox *inbox);
