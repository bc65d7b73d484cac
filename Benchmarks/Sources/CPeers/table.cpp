#include <mutex>
#include <shared_mutex>
#include <unordered_map>

extern "C" {
#include "peer_collection.h"
}

namespace {

struct Hash {
  size_t operator()(uint64_t key) const { return peer_hash(key); }
};

struct Table {
  std::shared_mutex lock;
  std::unordered_map<uint64_t, uint64_t, Hash> map;
};

void *make(uint64_t entries) {
  auto *table = new Table;
  table->map.reserve(entries);
  for (uint64_t index = 0; index < entries; index++) table->map[peer_key(index)] = index + 1;
  return table;
}

uint64_t run(void *opaque, const peer_operations *operations) {
  auto *table = static_cast<Table *>(opaque);
  uint64_t seed = operations->seed, sum = 0, left = operations->write_every;
  for (uint64_t i = 0; i < operations->count; i++) {
    uint64_t index = peer_next(&seed, operations->entries) + operations->first, key = peer_key(index);
    if (operations->write_every != 0 && --left == 0) {
      left = operations->write_every;
      std::unique_lock lock(table->lock);
      table->map[key] = index + 1;
    } else {
      std::shared_lock lock(table->lock);
      auto found = table->map.find(key);
      if (found != table->map.end()) sum += found->second;
    }
  }
  return sum;
}

void destroy(void *opaque) { delete static_cast<Table *>(opaque); }

}  // namespace

extern "C" const struct peer_collection peer_table_shared_mutex = {"std::unordered_map, shared_mutex", nullptr, make, run, destroy};
