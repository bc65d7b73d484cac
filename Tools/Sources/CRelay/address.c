#define _GNU_SOURCE
#include "relay_address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

bool relay_address_read(const struct sockaddr_storage *from, socklen_t length,
                        struct relay_address *address) {
  memset(address, 0, sizeof *address);
  if (from->ss_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    address->low = in->sin_addr.s_addr;
    address->port = ntohs(in->sin_port);
  } else if (from->ss_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
    memcpy(&address->high, in6->sin6_addr.s6_addr, 8);
    memcpy(&address->low, in6->sin6_addr.s6_addr + 8, 8);
    address->scope = in6->sin6_scope_id;
    address->port = ntohs(in6->sin6_port);
  } else {
    return false;
  }
  address->family = from->ss_family;
  return true;
}

socklen_t relay_address_write(struct relay_address address, struct sockaddr_storage *to) {
  if (address.family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    memset(in, 0, sizeof *in);
    in->sin_family = AF_INET;
    in->sin_port = htons(address.port);
    in->sin_addr.s_addr = (in_addr_t)address.low;
    return sizeof *in;
  }
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
  memset(in6, 0, sizeof *in6);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(address.port);
  in6->sin6_scope_id = address.scope;
  memcpy(in6->sin6_addr.s6_addr, &address.high, 8);
  memcpy(in6->sin6_addr.s6_addr + 8, &address.low, 8);
  return sizeof *in6;
}

int relay_address_parse(const char *host, uint16_t port, struct relay_address *address) {
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found;
  if (getaddrinfo(host, service, &hints, &found) != 0) return -EINVAL;
  struct sockaddr_storage storage = {0};
  memcpy(&storage, found->ai_addr, found->ai_addrlen);
  bool known = relay_address_read(&storage, found->ai_addrlen, address);
  freeaddrinfo(found);
  return known ? 0 : -EINVAL;
}

void relay_address_format(struct relay_address address, char *text, size_t capacity) {
  struct sockaddr_storage storage;
  socklen_t length = relay_address_write(address, &storage);
  if (getnameinfo((struct sockaddr *)&storage, length, text, (socklen_t)capacity, NULL, 0,
                  NI_NUMERICHOST) != 0)
    snprintf(text, capacity, "?");
}

bool relay_address_is_any(struct relay_address address) {
  return address.high == 0 && address.low == 0;
}
