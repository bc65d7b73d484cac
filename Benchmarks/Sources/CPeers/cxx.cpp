// The alternatives in C++.
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "peer.h"
#include "peer_count.h"
#include "peer_place.h"

namespace {

struct SharedMutexCell {
  std::shared_mutex lock;
  std::unique_ptr<peer_item> item;
};

struct SharedPointerCell {
  std::atomic<std::shared_ptr<peer_item>> item;
};

// The loops. The step is passed as a function that is inlined.
template <typename Read>
inline uint64_t sum(void (*place)(), uint64_t count, Read read) {
  uint64_t sum = 0;
  place();
  for (uint64_t i = 0; i < count; i++) sum += read();
  return sum;
}

template <typename Read>
inline uint64_t sum(int place, uint64_t count, Read read) {
  switch (place) {
    case 0: return sum(peer_place_0, count, read);
    case 1: return sum(peer_place_16, count, read);
    case 2: return sum(peer_place_32, count, read);
    default: return sum(peer_place_48, count, read);
  }
}

uint64_t shared_mutex_work(void *opaque, uint64_t length, uint64_t count) {
  auto *cell = static_cast<SharedMutexCell *>(opaque);
  return sum(0, count, [=] {
    std::shared_lock lock(cell->lock);
    return peer_work(cell->item->number, length);
  });
}

uint64_t shared_mutex_read(void *opaque, int place, uint64_t count) {
  auto *cell = static_cast<SharedMutexCell *>(opaque);
  return sum(place, count, [=] {
    std::shared_lock lock(cell->lock);
    return cell->item->number;
  });
}

void shared_mutex_update(void *opaque, uint64_t number) {
  auto *cell = static_cast<SharedMutexCell *>(opaque);
  auto item = std::make_unique<peer_item>(peer_item{number});
  std::unique_lock lock(cell->lock);
  cell->item.swap(item);
}

void shared_mutex_synchronize(void *opaque) {
  std::unique_lock lock(static_cast<SharedMutexCell *>(opaque)->lock);
}

uint64_t shared_ptr_work(void *opaque, uint64_t length, uint64_t count) {
  auto *cell = static_cast<SharedPointerCell *>(opaque);
  return sum(0, count, [=] {
    auto item = cell->item.load(std::memory_order_acquire);
    return peer_work(item->number, length);
  });
}

uint64_t shared_ptr_read(void *opaque, int place, uint64_t count) {
  auto *cell = static_cast<SharedPointerCell *>(opaque);
  return sum(place, count, [=] { return cell->item.load(std::memory_order_acquire)->number; });
}

void shared_ptr_update(void *opaque, uint64_t number) {
  static_cast<SharedPointerCell *>(opaque)->item.store(
      std::make_shared<peer_item>(peer_item{number}), std::memory_order_release);
}

}  // namespace

extern "C" {

const struct peer peer_shared_mutex = {
    .name = "std::shared_mutex, C++",
    .blocks = true,
    .make = [](uint64_t number) -> void * {
      auto *cell = new SharedMutexCell;
      cell->item = std::make_unique<peer_item>(peer_item{number});
      return cell;
    },
    .read = shared_mutex_read,
    .work = shared_mutex_work,
    .update = shared_mutex_update,
    .synchronize = shared_mutex_synchronize,
};

const struct peer peer_atomic_shared_ptr = {
    .name = "std::atomic<std::shared_ptr>, C++",
    .blocks = true,
    .make = [](uint64_t number) -> void * {
      auto *cell = new SharedPointerCell;
      cell->item.store(std::make_shared<peer_item>(peer_item{number}));
      return cell;
    },
    .read = shared_ptr_read,
    .work = shared_ptr_work,
    .update = shared_ptr_update,
};

uint64_t peer_count_shared_ptr(uint64_t count) {
  static const std::shared_ptr<peer_item> shared = std::make_shared<peer_item>(peer_item{3});
  return sum(0, count, []() -> uint64_t {
    std::shared_ptr<peer_item> copy = shared;
    // Keeps the compiler from removing the copy.
    __asm__ volatile("" : : "r"(copy.get()) : "memory");
    return copy != nullptr;
  });
}
}
