#include <list>
#include <mutex>
#include <shared_mutex>

extern "C" {
#include "peer_collection.h"
}

namespace {

struct List {
  std::shared_mutex lock;
  std::list<uint64_t> elements;
};

void *make(uint64_t entries) {
  auto *list = new List;
  for (uint64_t number = 1; number <= entries; number++) list->elements.push_back(number);
  return list;
}

uint64_t run(void *opaque, const peer_operations *operations) {
  auto *list = static_cast<List *>(opaque);
  uint64_t sum = 0, left = operations->write_every;
  for (uint64_t i = 0; i < operations->count; i++) {
    if (operations->write_every != 0 && --left == 0) {
      left = operations->write_every;
      {
        std::unique_lock lock(list->lock);
        list->elements.push_front(0);
      }
      std::unique_lock lock(list->lock);
      list->elements.pop_front();
    } else {
      std::shared_lock lock(list->lock);
      for (uint64_t number : list->elements) sum += number;
    }
  }
  return sum;
}

void destroy(void *opaque) { delete static_cast<List *>(opaque); }

}  // namespace

extern "C" const struct peer_collection peer_list_shared_mutex = {"std::list, shared_mutex", nullptr, make, run, destroy};
