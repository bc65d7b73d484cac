// Unix-domain stream sockets for the control connection: the calls that are awkward in Swift. Every
// function returns a descriptor, a count or 0, or a negative errno.
#pragma once

#include <stddef.h>
#include <sys/types.h>

/// The process at the other end of a socket, as the kernel recorded it.
struct control_peer {
  pid_t process;
  uid_t user;
};

/// Opens a stream socket that is closed on exec.
int control_socket(void);

/// Binds to `path`. The file has this mode from its creation on.
int control_bind(int socket, const char *path, mode_t mode);

/// Connects. -EAGAIN if the host's queue of connections is full: at once or, with `wait`, after a
/// second.
int control_connect(int socket, const char *path, int wait);

/// Accepts the next connection, closed on exec. -EAGAIN if none is waiting and the listener does
/// not block.
int control_accept(int listener);

/// Reads SO_PEERCRED.
int control_read_peer(int socket, struct control_peer *peer);

/// Limits a send that makes no progress to `seconds`.
int control_limit_send(int socket, int seconds);

/// Sends some of the bytes. -EPIPE, without a signal, if the peer has closed the connection.
long control_send(int socket, const void *bytes, size_t count, int wait);

/// Receives some bytes; 0 at the end of the stream.
long control_receive(int socket, void *bytes, size_t capacity);

/// Creates a descriptor that becomes readable when `control_ring` is called.
int control_bell(void);

/// Makes the bell readable from now on.
void control_ring(int bell);

/// Waits until one of two descriptors is readable or hung up, or until `milliseconds` have passed
/// (-1: no limit). Returns 1 for the first, 2 for the second, 3 for both, 0 for none. A negative
/// descriptor is ignored.
int control_wait(int first, int second, int milliseconds);

/// Waits until the peer of `socket` has closed the connection (returns 1), or `milliseconds` have
/// passed (0). A negative descriptor never hangs up.
int control_hangup(int socket, int milliseconds);
