#include <deque>
#include <mutex>

extern "C" {
#include "peer_collection.h"
}

namespace {

struct Queue {
  std::mutex lock;
  std::deque<uint64_t> elements;
};

void *make(uint64_t) { return new Queue; }

uint64_t run(void *opaque, const peer_operations *operations) {
  auto *queue = static_cast<Queue *>(opaque);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < operations->count; i += operations->entries) {
    for (uint64_t j = 0; j < operations->entries; j++) {
      std::lock_guard lock(queue->lock);
      queue->elements.push_back(1);
    }
    if (operations->entries == 1) {
      std::lock_guard lock(queue->lock);
      if (!queue->elements.empty()) {
        sum += queue->elements.front();
        queue->elements.pop_front();
      }
    } else {
      std::deque<uint64_t> taken;
      {
        std::lock_guard lock(queue->lock);
        taken.swap(queue->elements);
      }
      for (uint64_t number : taken) sum += number;
    }
  }
  return sum;
}

void destroy(void *opaque) { delete static_cast<Queue *>(opaque); }

}  // namespace

extern "C" const struct peer_collection peer_queue_mutex = {"std::deque, mutex", nullptr, make, run, destroy};
