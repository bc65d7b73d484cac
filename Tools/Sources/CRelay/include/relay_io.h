// Sockets, batches and threads for the relay and its test traffic. Functions return the stated
// value, or a negative errno. None retries on EAGAIN; all retry on EINTR.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "relay_packet.h"

/// The largest number of datagrams per system call.
#define RELAY_BATCH 64u

/// Receives up to `count` datagrams without blocking, each with its source. Returns the number.
int relay_receive(int fd, struct relay_packet *const *packets, unsigned count);

/// Sends up to `count` datagrams without blocking: to their destinations if `addressed`, otherwise
/// to the peer of the connected socket. Returns the number sent, or the error of the first
/// datagram.
int relay_send(int fd, struct relay_packet *const *packets, unsigned count, bool addressed);

/// Opens a nonblocking UDP socket with buffers as large as the system allows. Returns the
/// descriptor.
int relay_socket(int family);

/// The size of the receive buffer, as the kernel counts it.
int relay_receive_buffer(int fd);

/// Allows other sockets that also call this to bind to the same port.
int relay_share_port(int fd);

/// Makes the socket report the local address of every received datagram.
int relay_want_local_address(int fd, int family);

int relay_bind(int fd, struct relay_address address);
int relay_connect(int fd, struct relay_address address);
int relay_bound_address(int fd, struct relay_address *address);

/// Clears the pending error of the socket.
void relay_clear_error(int fd);

/// The number of datagrams that the kernel dropped because the receive buffer was full.
uint32_t relay_kernel_drops(int fd);

/// A descriptor that is ready.
struct relay_event {
  uint64_t token;
  bool readable;
  bool writable;
  bool failed;
};

int relay_poll_create(void);
/// Adds a descriptor, or changes what it is watched for. Errors are always reported.
int relay_poll_watch(int poll, int fd, uint64_t token, bool readable, bool writable, bool add);
/// Waits for up to `count` events, for at most `milliseconds`; -1 waits without a limit. Returns
/// the number of events, at most 64.
int relay_poll_wait(int poll, struct relay_event *events, int count, int milliseconds);

/// Creates a nonblocking eventfd.
int relay_bell_create(void);
/// Makes the eventfd readable.
void relay_bell_ring(int bell);

/// The monotonic clock, in nanoseconds.
uint64_t relay_clock(void);

/// Starts a joinable thread with every signal blocked and its nice value raised by `niceness`.
int relay_thread_start(pthread_t *thread, const char *name, int niceness, void (*body)(void *),
                       void *argument);
