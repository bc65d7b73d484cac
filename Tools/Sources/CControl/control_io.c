#define _GNU_SOURCE
#include "control_io.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int address(struct sockaddr_un *to, const char *path) {
  size_t length = strlen(path);
  if (length == 0) return -EINVAL;
  if (length >= sizeof to->sun_path) return -ENAMETOOLONG;
  memset(to, 0, sizeof *to);
  to->sun_family = AF_UNIX;
  memcpy(to->sun_path, path, length);
  return 0;
}

int control_socket(void) {
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return descriptor < 0 ? -errno : descriptor;
}

int control_bind(int socket, const char *path, mode_t mode) {
  struct sockaddr_un to;
  int error = address(&to, path);
  if (error) return error;
  // The file takes its mode from the socket, so it never has a wider one. Changing the umask
  // instead would also affect files that other threads create at the same time.
  if (fchmod(socket, mode) != 0) return -errno;
  return bind(socket, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : -errno;
}

int control_connect(int socket, const char *path, int wait) {
  struct sockaddr_un to;
  int error = address(&to, path);
  if (error) return error;
  // Without a limit, connect blocks as long as the host's queue of connections is full.
  struct timeval limit = {.tv_sec = wait ? 1 : 0, .tv_usec = wait ? 0 : 1};
  struct timeval none = {0};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int result;
  do {
    result = connect(socket, (struct sockaddr *)&to, sizeof to);
  } while (result != 0 && errno == EINTR);
  error = result == 0 ? 0 : -errno;
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  return error;
}

int control_accept(int listener) {
  int descriptor;
  do {
    descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  } while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
  return descriptor < 0 ? -errno : descriptor;
}

int control_read_peer(int socket, struct control_peer *peer) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -errno;
  peer->process = credentials.pid;
  peer->user = credentials.uid;
  return 0;
}

int control_limit_send(int socket, int seconds) {
  struct timeval limit = {.tv_sec = seconds};
  return setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 ? 0 : -errno;
}

long control_send(int socket, const void *bytes, size_t count, int wait) {
  ssize_t sent;
  do {
    sent = send(socket, bytes, count, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

long control_receive(int socket, void *bytes, size_t capacity) {
  ssize_t received;
  do {
    received = recv(socket, bytes, capacity, 0);
  } while (received < 0 && errno == EINTR);
  return received < 0 ? -errno : received;
}

int control_bell(void) {
  int descriptor = eventfd(0, EFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

void control_ring(int bell) {
  uint64_t one = 1;
  // Cannot block: a bell is rung only a few times, and the counter holds 2^64 - 2.
  while (write(bell, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static int wait_for(struct pollfd *two, int milliseconds) {
  int ready;
  do {
    ready = poll(two, 2, milliseconds);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return -errno;
  return (two[0].revents ? 1 : 0) | (two[1].revents ? 2 : 0);
}

int control_wait(int first, int second, int milliseconds) {
  struct pollfd two[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
  return wait_for(two, milliseconds);
}

int control_hangup(int socket, int milliseconds) {
  // POLLHUP alone: a client that only ended its own sending still waits for the answer.
  struct pollfd two[2] = {{.fd = -1}, {.fd = socket, .events = 0}};
  return wait_for(two, milliseconds) == 2;
}
