// Sockets, batches and threads, as far as the relay and its test traffic need them. Functions return what
// they say, or a negative errno. None retries on EAGAIN; all retry on EINTR.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "relay_packet.h"

/// The most datagrams that one system call moves.
#define RELAY_BATCH 64u

/// Receives up to `count` datagrams without waiting, each with its source. Returns how many.
int relay_receive(int fd, struct relay_packet *const *packets, unsigned count);

/// Sends up to `count` datagrams without waiting, `addressed` to their destinations or, on a connected
/// socket, to its peer. Returns how many were taken; an error is the first one's.
int relay_send(int fd, struct relay_packet *const *packets, unsigned count, bool addressed);

/// A UDP socket that does not block, with buffers as large as the system gives. Returns the descriptor.
int relay_socket(int family);

/// The receive buffer's size, in the kernel's accounting.
int relay_receive_buffer(int fd);

/// Shares the port with the other sockets that ask for this.
int relay_share_port(int fd);

/// Asks for the local address of every datagram.
int relay_want_local_address(int fd, int family);

int relay_bind(int fd, struct relay_address address);
int relay_connect(int fd, struct relay_address address);
int relay_bound_address(int fd, struct relay_address *address);

/// Takes the pending error off the socket.
void relay_clear_error(int fd);

/// How many datagrams the kernel threw away because the receive buffer was full, since the socket was made.
uint32_t relay_kernel_drops(int fd);

/// One ready descriptor.
struct relay_event {
  uint64_t token;
  bool readable;
  bool writable;
  bool failed;
};

int relay_poll_create(void);
/// Adds a descriptor, or changes what it is watched for. Errors are always reported.
int relay_poll_watch(int poll, int fd, uint64_t token, bool readable, bool writable, bool add);
/// Waits for up to `count` events, at most `milliseconds`; -1 for ever. Returns how many, at most 64.
int relay_poll_wait(int poll, struct relay_event *events, int count, int milliseconds);

/// An eventfd that does not block.
int relay_bell_create(void);
/// Makes it readable.
void relay_bell_ring(int bell);

/// The monotonic clock in nanoseconds.
uint64_t relay_clock(void);

/// A joinable thread with every signal blocked, which is nicer than its parent by `niceness`.
int relay_thread_start(pthread_t *thread, const char *name, int niceness, void (*body)(void *),
                       void *argument);
