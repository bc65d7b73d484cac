// Unix-domain stream sockets for the control connection: what is awkward to say in Swift.
// Every function returns a descriptor, a count or 0, or a negative errno.
#pragma once

#include <stddef.h>
#include <sys/types.h>

/// Who is at the other end of a socket, as the kernel recorded it.
struct control_peer {
  pid_t process;
  uid_t user;
};

/// A stream socket, closed on exec.
int control_socket(void);

/// Binds to `path`, which nobody but the owner can open from its first instant on.
int control_bind(int socket, const char *path);

/// Connects. A host whose queue of connections is full is -EAGAIN, at once or, with `wait`, after a second.
int control_connect(int socket, const char *path, int wait);

/// The next connection, closed on exec. -EAGAIN when none waits and the listener does not block.
int control_accept(int listener);

/// Reads SO_PEERCRED.
int control_read_peer(int socket, struct control_peer *peer);

/// Ends a send that makes no progress for `seconds`.
int control_limit_send(int socket, int seconds);

/// Sends some of the bytes; a peer that went is -EPIPE, not a signal.
long control_send(int socket, const void *bytes, size_t count, int wait);

/// Receives some bytes; 0 at the end of the stream.
long control_receive(int socket, void *bytes, size_t capacity);

/// A descriptor that becomes readable when `control_ring` is called.
int control_bell(void);

/// Makes the bell readable, for good.
void control_ring(int bell);

/// Waits until one of two descriptors is readable or hung up, or `milliseconds` passed (-1: for ever).
/// Returns 1 for the first, 2 for the second, 3 for both, 0 for none. A negative descriptor is left out.
int control_wait(int first, int second, int milliseconds);

/// Waits until `bell` is readable (1) or the peer of `socket` is gone altogether (2), or both (3).
int control_wait_or_hangup(int bell, int socket);

/// Waits until the peer of `socket` is gone altogether: 1; or `milliseconds` passed: 0. A negative descriptor is never gone.
int control_hangup(int socket, int milliseconds);
