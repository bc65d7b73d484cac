// Connection tracking, after the ip_conntrack of 2002 that the scheme "bigref" was made for: it
// attaches callbacks to packets in flight, counts them in a bigref, and publishes a table that a
// client can hold open while an unload is requested.
//
// Copy this module if pointers of your module outlive its hooks. The essential lines are marked [1]
// to [4].
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "quiesce_packet.h"

// The table has a fixed size, so no traffic can make the module grow. A connection is stored in one
// of the few entries of its bucket; a new connection replaces the one that was idle for the longest
// time.
enum { BUCKETS = 256, ENTRIES = 4 };

struct endpoint {
  sa_family_t family;
  in_port_t port;
  struct in6_addr address;
};

struct connection {
  struct endpoint client;
  struct endpoint server;
  bool used;
  bool confirmed;           // a packet of it has passed every hook point
  unsigned long requests;   // packets from the client
  unsigned long answers;    // packets from the server
  unsigned long last_use;   // in ticks of `clock_ticks`
  atomic_ulong in_flight;   // packets that carry a pointer to this entry
};

// A lock per bucket, held for a few instructions: packets of different connections rarely contend.
// A single lock for the table would be taken for every packet on every processor.
struct bucket {
  pthread_mutex_t lock;
  struct connection entries[ENTRIES];
} __attribute__((aligned(64)));

static const struct quiescent_host *host;
static struct quiescent_self *self;
static struct quiescent_bigref *packet_count;
static struct bucket table[BUCKETS];
static atomic_ulong clock_ticks;

static struct endpoint endpoint_of(const struct sockaddr_storage *address) {
  // Every byte is set, including padding: endpoints are compared and hashed as bytes.
  struct endpoint endpoint;
  memset(&endpoint, 0, sizeof endpoint);
  endpoint.family = address->ss_family;
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    endpoint.port = in->sin_port;
    memcpy(&endpoint.address, &in->sin_addr, sizeof in->sin_addr);
  } else if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    endpoint.port = in6->sin6_port;
    endpoint.address = in6->sin6_addr;
  }
  return endpoint;
}

static uint64_t hash(const struct endpoint *endpoint, uint64_t seed) {
  const unsigned char *bytes = (const unsigned char *)endpoint;
  for (size_t i = 0; i < sizeof *endpoint; i++) seed = (seed ^ bytes[i]) * 0x100000001b3;
  return seed;
}

static bool same(const struct endpoint *a, const struct endpoint *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

// Both directions of a connection use one entry, with the client first.
struct key {
  struct endpoint client;
  struct endpoint server;
  struct bucket *bucket;
};

static struct key key_of(const struct quiesce_packet *packet) {
  bool request = packet->direction == QUIESCE_TO_SERVER;
  struct key key;
  key.client = endpoint_of(request ? &packet->source : &packet->destination);
  key.server = endpoint_of(request ? &packet->destination : &packet->source);
  uint64_t sum = hash(&key.server, hash(&key.client, 0xcbf29ce484222325));
  key.bucket = &table[(sum ^ sum >> 32) % BUCKETS];
  return key;
}

// Finds the connection's entry, or NULL. The caller holds the bucket's lock.
static struct connection *find(const struct key *key) {
  for (int i = 0; i < ENTRIES; i++) {
    struct connection *entry = &key->bucket->entries[i];
    if (entry->used && same(&entry->client, &key->client) && same(&entry->server, &key->server))
      return entry;
  }
  return NULL;
}

// Chooses an entry for a new connection; NULL if packets in flight point to every entry. The caller
// holds the bucket's lock, so no new pointer to the chosen entry can appear.
static struct connection *take(const struct key *key) {
  struct connection *oldest = NULL;
  for (int i = 0; i < ENTRIES; i++) {
    struct connection *entry = &key->bucket->entries[i];
    // Acquire: everything that the last packet did with the entry is complete.
    if (atomic_load_explicit(&entry->in_flight, memory_order_acquire) != 0) continue;
    if (oldest == NULL || !entry->used || (oldest->used && entry->last_use < oldest->last_use))
      oldest = entry;
  }
  if (oldest == NULL) return NULL;
  oldest->client = key->client;
  oldest->server = key->server;
  oldest->used = true;
  oldest->confirmed = false;
  oldest->requests = 0;
  oldest->answers = 0;
  return oldest;
}

// [1] The callback on a packet: the relay calls it when it is done with the packet. By then the
// hook has long returned, and an unload of this module may be in progress. Only the count below
// keeps this code mapped.
static void packet_done(void *context) {
  struct connection *connection = context;
  atomic_fetch_sub_explicit(&connection->in_flight, 1, memory_order_release);
  // The last action: if this is the last reference, the module may be unloaded. The caller is
  // inside a read-side critical section, and the host waits for one more grace period before it
  // unmaps the code that is still returning.
  host->bigref_release(packet_count);
}

static int on_prerouting(void *argument, void *context) {
  (void)context;
  struct quiesce_packet *packet = argument;
  struct key key = key_of(packet);
  pthread_mutex_lock(&key.bucket->lock);
  struct connection *connection = find(&key);
  if (connection == NULL) connection = take(&key);
  if (connection != NULL) {
    if (packet->direction == QUIESCE_TO_SERVER)
      connection->requests++;
    else
      connection->answers++;
    connection->last_use = atomic_fetch_add_explicit(&clock_ticks, 1, memory_order_relaxed);
    // [2] Count first, then attach the pointer; release the count if that fails. Inside a hook the
    // counter cannot be closed yet.
    host->bigref_acquire(packet_count);
    atomic_fetch_add_explicit(&connection->in_flight, 1, memory_order_relaxed);
    if (packet->attach(packet, packet_done, connection) != 0) packet_done(connection);
  }
  pthread_mutex_unlock(&key.bucket->lock);
  return QUIESCENT_ACCEPT;
}

// The packet has passed every hook that could drop it: now its connection counts.
static int on_postrouting(void *argument, void *context) {
  (void)context;
  struct key key = key_of(argument);
  pthread_mutex_lock(&key.bucket->lock);
  struct connection *connection = find(&key);
  if (connection != NULL) connection->confirmed = true;
  pthread_mutex_unlock(&key.bucket->lock);
  return QUIESCENT_ACCEPT;
}

static void print_endpoint(const struct endpoint *endpoint, char *text, size_t capacity) {
  char host_part[INET6_ADDRSTRLEN] = "?";
  inet_ntop(endpoint->family, &endpoint->address, host_part, sizeof host_part);
  snprintf(text, capacity, endpoint->family == AF_INET6 ? "[%s]:%u" : "%s:%u", host_part,
           ntohs(endpoint->port));
}

// Prints one connection as a line. The length depends only on the address family, so that a line
// keeps its offset when only numbers change between two reads.
enum { LONGEST_LINE = 192 };

static size_t print(const struct connection *connection, char *line) {
  char client[64], server[64];
  print_endpoint(&connection->client, client, sizeof client);
  print_endpoint(&connection->server, server, sizeof server);
  int width = connection->client.family == AF_INET6 || connection->server.family == AF_INET6 ? 54 : 22;
  int length = snprintf(
      line, LONGEST_LINE, "udp %-*s %-*s %10lu %10lu %4lu\n", width, client, width, server,
      connection->requests % 10000000000, connection->answers % 10000000000,
      atomic_load_explicit(&connection->in_flight, memory_order_relaxed) % 10000);
  return (size_t)length;
}

// [3] The named object: protocol, client, server, packets each way, packets in flight. The host
// keeps the module loaded while a client holds the object open.
static long read_table(void *context, char *buffer, size_t capacity, uint64_t offset) {
  (void)context;
  size_t written = 0;
  uint64_t position = 0;
  for (int i = 0; i < BUCKETS; i++) {
    for (int j = 0; j < ENTRIES; j++) {
      char line[LONGEST_LINE];
      size_t length = 0;
      pthread_mutex_lock(&table[i].lock);
      const struct connection *connection = &table[i].entries[j];
      if (connection->used && connection->confirmed) length = print(connection, line);
      pthread_mutex_unlock(&table[i].lock);
      // Whole lines only, starting with the first line at or behind the offset. So a reader never
      // sees parts of two connections in one line, even if the table has changed in between.
      if (length > 0 && position >= offset) {
        if (written + length > capacity) return written > 0 ? (long)written : -EINVAL;
        memcpy(buffer + written, line, length);
        written += length;
      }
      position += length;
    }
  }
  return (long)written;
}

static int start(const struct quiescent_host *h, struct quiescent_self *s) {
  host = h;
  self = s;
  for (int i = 0; i < BUCKETS; i++) pthread_mutex_init(&table[i].lock, NULL);
  packet_count = host->bigref_create(self, "packets in flight");
  if (packet_count == NULL) return -ENOMEM;
  // If one of these fails, the host unregisters the earlier ones.
  int error = host->register_hook(self, "prerouting", QUIESCE_PACKET_TYPE, 0, on_prerouting, NULL);
  if (error != 0) return error;
  error = host->register_hook(self, "postrouting", QUIESCE_PACKET_TYPE, 0, on_postrouting, NULL);
  if (error != 0) return error;
  return host->publish(self, "conntrack", read_table, NULL);
}

// [4] The hooks and the object are unregistered, and no hook is running. Packets may still be in
// flight: with -EBUSY the module stays until the next request to unload it.
static int leave(void) {
  if (!host->bigref_is_zero(packet_count)) return -EBUSY;
  for (int i = 0; i < BUCKETS; i++) pthread_mutex_destroy(&table[i].lock);
  return 0;
}

QUIESCENT_MODULE(.name = "conntrack", .version = "1.0",
                 .description = "Tracks connections, and the packets that are in flight for each.",
                 .init = start, .exit = leave)
