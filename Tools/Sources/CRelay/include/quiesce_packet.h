// The argument that the hook points of `quiesce host` pass to a hook: a UDP datagram in transit.
//
// The points are named `prerouting`, `forward` and `postrouting`. Every datagram passes them in
// this order, requests and answers alike. A module registers with the type below:
//
//     #include "quiesce_packet.h"
//
//     static int hook(void *argument, void *context) {
//       struct quiesce_packet *packet = argument;
//       return packet->length > 1200 ? QUIESCENT_DROP : QUIESCENT_ACCEPT;
//     }
//
//     host->register_hook(self, "forward", QUIESCE_PACKET_TYPE, 0, hook, NULL);
//
// The rules:
//
//  1. A hook may change `length` bytes at `data`, and `length` itself up to `capacity`. It must
//     not change anything else.
//  2. After QUIESCENT_ACCEPT and QUIESCENT_DROP the packet belongs to the relay: keep no pointer
//     to it. Use `attach` to be called when the relay is done with the packet.
//  3. After QUIESCENT_STOLEN the packet and its memory belong to the module, until the module
//     calls exactly one of `resume` and `discard`, once. Another thread may make that call before
//     the hook has returned.
//  4. An attached callback or a stolen packet outlives the hook, and the grace period that an
//     unload waits for. Count each of them, with a `bigref` or with `acquire`.
//
// Several threads process different packets at once. A packet is processed by one thread at a time.
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "quiescent_module.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The argument type of the relay's hook points. It changes whenever `struct quiesce_packet`
/// changes.
#define QUIESCE_PACKET_TYPE "quiesce.packet.1"

/// The largest number of callbacks on one packet.
#define QUIESCE_PACKET_ATTACHMENTS 4

// Swift passes the packet by address and never copies or moves it: modules keep its address.
#if defined(__swift__)
#define QUIESCE_PACKET_IN_PLACE __attribute__((swift_attr("~Copyable")))
#else
#define QUIESCE_PACKET_IN_PLACE
#endif

/// The direction in which a packet travels.
enum quiesce_direction {
  QUIESCE_TO_SERVER = 0,  ///< a request, from the client that the flow belongs to
  QUIESCE_TO_CLIENT = 1,  ///< an answer
};

/// A datagram, without its UDP and IP headers.
struct QUIESCE_PACKET_IN_PLACE quiesce_packet {
  uint8_t *data;       ///< the payload
  uint32_t length;     ///< its bytes
  uint32_t capacity;   ///< the largest value of `length`
  uint32_t direction;  ///< a `quiesce_direction`

  socklen_t source_length;              ///< bytes of `source` that are set
  socklen_t destination_length;         ///< bytes of `destination` that are set
  struct sockaddr_storage source;       ///< the sender: the client or the server
  struct sockaddr_storage destination;  ///< the receiver: the server or the client

  /// Calls `callback(context)` exactly once, when the relay is done with the packet: after it was
  /// sent, dropped or discarded. Like a hook, the callback runs inside a read-side critical
  /// section, possibly long after the hook has returned. -ENOSPC if the packet already has
  /// QUIESCE_PACKET_ATTACHMENTS callbacks. Call this only while the packet is the module's: inside
  /// a hook, or after stealing it.
  int (*attach)(struct quiesce_packet *packet, void (*callback)(void *context), void *context);

  /// Returns a stolen packet to the relay, which continues behind the hook point that stole it. Any
  /// thread. Costs one atomic operation, and a system call if the worker may be asleep.
  void (*resume)(struct quiesce_packet *packet);

  /// Returns a stolen packet to the relay, which drops it. Otherwise like `resume`.
  void (*discard)(struct quiesce_packet *packet);
};

#ifdef __cplusplus
}
#endif
