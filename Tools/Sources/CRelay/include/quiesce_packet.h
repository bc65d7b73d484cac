// What the hook points of `quiesce host` pass to a hook: a UDP datagram on its way.
//
// The points are called `prerouting`, `forward` and `postrouting`, and every datagram passes them in this
// order, requests and answers alike. A module registers with the type below:
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
//  1. A hook may change `length` bytes at `data`, and `length` itself, up to `capacity`. It changes nothing
//     else.
//  2. After QUIESCENT_ACCEPT and QUIESCENT_DROP the packet is the relay's: keep no pointer to it.
//     What has to know when the packet is gone uses `attach`.
//  3. After QUIESCENT_STOLEN the packet is the module's, with its memory, until the module calls exactly
//     one of `resume` and `discard`, once. Another thread may do so before the hook has returned.
//  4. An attached callback and a stolen packet outlive the hook, and so the time for which the host waits
//     when it unloads: count each of them, with a `bigref` or with `acquire`.
//
// Several threads work on different packets at once; one packet is with one thread at a time.
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "quiescent_module.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The argument type of the relay's hook points. It changes when `struct quiesce_packet` does.
#define QUIESCE_PACKET_TYPE "quiesce.packet.1"

/// The most callbacks that one packet carries.
#define QUIESCE_PACKET_ATTACHMENTS 4

// Swift passes it in place and never moves or copies it: modules keep its address.
#if defined(__swift__)
#define QUIESCE_PACKET_IN_PLACE __attribute__((swift_attr("~Copyable")))
#else
#define QUIESCE_PACKET_IN_PLACE
#endif

/// Which way a packet travels.
enum quiesce_direction {
  QUIESCE_TO_SERVER = 0,  ///< a request, from the client that the flow belongs to
  QUIESCE_TO_CLIENT = 1,  ///< an answer
};

/// A datagram, without its UDP and IP headers.
struct QUIESCE_PACKET_IN_PLACE quiesce_packet {
  uint8_t *data;       ///< the payload
  uint32_t length;     ///< its bytes
  uint32_t capacity;   ///< the most that `length` may be
  uint32_t direction;  ///< a `quiesce_direction`

  socklen_t source_length;              ///< bytes of `source` that are set
  socklen_t destination_length;         ///< bytes of `destination` that are set
  struct sockaddr_storage source;       ///< who sent it: the client, or the server
  struct sockaddr_storage destination;  ///< whom it is for: the server, or the client

  /// Calls `callback(context)` exactly once, when the relay is done with the packet: it was sent, dropped
  /// or discarded. The call comes from a thread that is inside a read-side critical section, as a hook's
  /// does, possibly long after the hook has returned. -ENOSPC when the packet carries
  /// QUIESCE_PACKET_ATTACHMENTS already. Only where the packet is yours: inside a hook, or stolen.
  int (*attach)(struct quiesce_packet *packet, void (*callback)(void *context), void *context);

  /// Gives a stolen packet back: it goes on behind the hook point where it was stolen. Any thread; one
  /// atomic operation and, when the worker may sleep, one system call.
  void (*resume)(struct quiesce_packet *packet);

  /// Gives a stolen packet back to be thrown away. Otherwise as `resume`.
  void (*discard)(struct quiesce_packet *packet);
};

#ifdef __cplusplus
}
#endif
