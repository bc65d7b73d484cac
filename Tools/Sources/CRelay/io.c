#define _GNU_SOURCE
#include "relay_io.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

// The requested size; the system may grant less. Memory is used only while datagrams wait.
static const int buffer_size = 64 << 20;

static unsigned prepare(struct mmsghdr *messages, struct iovec *vectors,
                        struct relay_packet *const *packets, unsigned count) {
  if (count > RELAY_BATCH) count = RELAY_BATCH;
  memset(messages, 0, count * sizeof *messages);
  for (unsigned i = 0; i < count; i++) {
    vectors[i].iov_base = packets[i]->buffer;
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  return count;
}

// Keeps the local address for the answer. The interface is kept only for link-local addresses,
// which need one; for others the routing table decides, because the way back may be a different
// one.
static void keep_control(struct relay_packet *packet, struct msghdr *header) {
  packet->local.length = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);
      info->ipi_ifindex = 0;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(c);
      if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) info->ipi6_ifindex = 0;
    } else {
      continue;
    }
    if (c->cmsg_len > sizeof packet->local.bytes) continue;
    memmove(packet->local.bytes, c, c->cmsg_len);
    packet->local.length = CMSG_ALIGN(c->cmsg_len);
    return;
  }
}

int relay_receive(int fd, struct relay_packet *const *packets, unsigned count) {
  struct mmsghdr messages[RELAY_BATCH];
  struct iovec vectors[RELAY_BATCH];
  count = prepare(messages, vectors, packets, count);
  for (unsigned i = 0; i < count; i++) {
    vectors[i].iov_len = RELAY_PACKET_CAPACITY;
    messages[i].msg_hdr.msg_name = &packets[i]->packet.source;
    messages[i].msg_hdr.msg_namelen = sizeof packets[i]->packet.source;
    messages[i].msg_hdr.msg_control = packets[i]->local.bytes;
    messages[i].msg_hdr.msg_controllen = sizeof packets[i]->local.bytes;
  }
  int received;
  do received = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  for (int i = 0; i < received; i++) {
    struct relay_packet *packet = packets[i];
    packet->packet.length = messages[i].msg_len;
    packet->packet.source_length = messages[i].msg_hdr.msg_namelen;
    packet->truncated = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
    keep_control(packet, &messages[i].msg_hdr);
  }
  return received;
}

int relay_send(int fd, struct relay_packet *const *packets, unsigned count, bool addressed) {
  struct mmsghdr messages[RELAY_BATCH];
  struct iovec vectors[RELAY_BATCH];
  count = prepare(messages, vectors, packets, count);
  for (unsigned i = 0; i < count; i++) {
    vectors[i].iov_len = packets[i]->packet.length;
    if (!addressed) continue;
    messages[i].msg_hdr.msg_name = &packets[i]->packet.destination;
    messages[i].msg_hdr.msg_namelen = packets[i]->packet.destination_length;
    if (packets[i]->local.length == 0) continue;
    messages[i].msg_hdr.msg_control = packets[i]->local.bytes;
    messages[i].msg_hdr.msg_controllen = packets[i]->local.length;
  }
  int sent;
  do sent = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

int relay_receive_buffer(int fd) {
  int size = 0;
  socklen_t length = sizeof size;
  return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length) < 0 ? -errno : size;
}

int relay_socket(int family) {
  int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) return -errno;
  // Only privileged processes may exceed the system's limit; for others the kernel grants its
  // limit.
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size, sizeof buffer_size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_size, sizeof buffer_size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size);
  return fd;
}

int relay_share_port(int fd) {
  int yes = 1;
  return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) < 0 ? -errno : 0;
}

int relay_want_local_address(int fd, int family) {
  int yes = 1;
  int result = family == AF_INET6
                   ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof yes)
                   : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
  return result < 0 ? -errno : 0;
}

int relay_bind(int fd, struct relay_address address) {
  struct sockaddr_storage storage;
  socklen_t length = relay_address_write(address, &storage);
  return bind(fd, (struct sockaddr *)&storage, length) < 0 ? -errno : 0;
}

int relay_connect(int fd, struct relay_address address) {
  struct sockaddr_storage storage;
  socklen_t length = relay_address_write(address, &storage);
  return connect(fd, (struct sockaddr *)&storage, length) < 0 ? -errno : 0;
}

int relay_bound_address(int fd, struct relay_address *address) {
  struct sockaddr_storage storage;
  socklen_t length = sizeof storage;
  if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0) return -errno;
  return relay_address_read(&storage, length, address) ? 0 : -EAFNOSUPPORT;
}

void relay_clear_error(int fd) {
  int error;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
}

uint32_t relay_kernel_drops(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof info;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) < 0) return 0;
  return info[SK_MEMINFO_DROPS];
}

uint64_t relay_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
