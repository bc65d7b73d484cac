// The relay's part of a packet: its buffer, its callbacks, and its way back to the worker.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quiesce_packet.h"
#include "relay_address.h"

/// Room for every UDP datagram without jumbograms, so that none is truncated.
#define RELAY_PACKET_CAPACITY 65536u

struct relay_inbox;

struct relay_attachment {
  void (*callback)(void *context);
  void *context;
};

/// The local address and interface of a datagram, as ancillary data. Needed if the listener is
/// bound to the wildcard address: many clients refuse an answer from an address that they did not
/// send to.
struct relay_local {
  uint32_t length;  ///< 0 if unknown
  _Alignas(8) uint8_t bytes[40];
};

/// Modules see `packet`; the other fields are the relay's.
struct QUIESCE_PACKET_IN_PLACE relay_packet {
  struct quiesce_packet packet;
  uint8_t *buffer;            ///< the buffer; a module may change `packet.data`, but not this
  struct relay_inbox *inbox;  ///< its worker's
  struct relay_packet *next;  ///< the next packet in an inbox
  uint32_t stage;             ///< the number of hook points that it has entered
  bool discarded;             ///< returned by `discard`
  bool truncated;             ///< did not fit into the buffer when it was received
  uint32_t attachment_count;
  struct relay_attachment attachments[QUIESCE_PACKET_ATTACHMENTS];
  struct relay_local local;  ///< the address that received it, or that it is sent from
};

/// Creates a packet with a buffer. NULL if there is no memory. Pages of the buffer take memory only
/// when they are used.
struct relay_packet *relay_packet_create(struct relay_inbox *inbox);

void relay_packet_free(struct relay_packet *packet);

/// Prepares the packet for the next datagram.
void relay_packet_reset(struct relay_packet *packet);

/// Runs the attached callbacks, in the order of attachment. The caller is inside a section.
void relay_packet_finish(struct relay_packet *packet);

/// The source address. Returns false if its family is not one that the relay knows.
bool relay_packet_source(const struct relay_packet *packet, struct relay_address *source);
void relay_packet_set_source(struct relay_packet *packet, struct relay_address source);
void relay_packet_set_destination(struct relay_packet *packet, struct relay_address destination);

/// The relay's packet that contains `packet` as its first field.
static inline struct relay_packet *relay_packet_of(struct quiesce_packet *packet) {
  return (struct relay_packet *)packet;
}

/// The inbox of a worker, to which any thread can return a packet: a lock-free stack, and an
/// eventfd that is written when the stack was empty. Reference-counted: one reference for the
/// worker, one for every stolen packet, and one for every thread that is returning a packet.
struct relay_inbox;

/// Creates an inbox and its eventfd. NULL with errno set if that fails. `orphan` receives each
/// packet that is returned after `relay_inbox_close`, on the thread that returns it.
struct relay_inbox *relay_inbox_create(void (*orphan)(struct relay_packet *packet));

/// The eventfd to wait on.
int relay_inbox_descriptor(const struct relay_inbox *inbox);

void relay_inbox_retain(struct relay_inbox *inbox);
void relay_inbox_release(struct relay_inbox *inbox);

/// Wakes the worker to look into its inbox.
void relay_inbox_wake(struct relay_inbox *inbox);

/// Takes every packet, newest first, and clears the eventfd.
struct relay_packet *relay_inbox_take(struct relay_inbox *inbox);

/// Like `relay_inbox_take`, and closes the inbox: packets that are returned later go to `orphan`.
struct relay_packet *relay_inbox_close(struct relay_inbox *inbox);
