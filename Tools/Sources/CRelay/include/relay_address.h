// An IPv4 or IPv6 address with a port, as a value that can be compared and hashed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct relay_address {
  uint64_t high;   ///< the first half of an IPv6 address, in network order; 0 for IPv4
  uint64_t low;    ///< the second half, or the IPv4 address
  uint32_t scope;  ///< the interface of a link-local address
  uint16_t port;
  uint16_t family;  ///< AF_INET or AF_INET6
};

/// Reads a socket address. Returns false if it is neither IPv4 nor IPv6.
bool relay_address_read(const struct sockaddr_storage *from, socklen_t length,
                        struct relay_address *address);

/// Writes the address. Returns the number of bytes written.
socklen_t relay_address_write(struct relay_address address, struct sockaddr_storage *to);

/// Parses a numeric address, with an optional scope such as `fe80::1%eth0`. 0 or -EINVAL.
int relay_address_parse(const char *host, uint16_t port, struct relay_address *address);

/// Writes the host part as text.
void relay_address_format(struct relay_address address, char *text, size_t capacity);

/// Whether this is the wildcard address.
bool relay_address_is_any(struct relay_address address);
