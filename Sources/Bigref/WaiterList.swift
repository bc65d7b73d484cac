internal import Quiescence
internal import Synchronization

/// Who waits for a counter's zero. Under the cell's lock.
final class WaiterList {
  /// Each under the number by which it can be taken off again.
  private var entries: [(number: Int, waiter: Waiter)] = []
  private var lastNumber = 0

  func append(_ waiter: Waiter) -> Int {
    lastNumber += 1
    entries.append((lastNumber, waiter))
    return lastNumber
  }

  func remove(_ number: Int) -> Bool {
    guard let index = entries.firstIndex(where: { $0.number == number }) else { return false }
    entries.remove(at: index)
    return true
  }

  func takeAll() -> [Waiter] {
    defer { entries = [] }
    return entries.map(\.waiter)
  }

  var count: Int { entries.count }
}

extension Storage {
  /// Resumes `waiter` at zero, or now. Returns what to ``forget(_:)``, or nil when it was resumed at once.
  func atZero(_ waiter: Waiter) -> Int? {
    let entry = cell.withLock { () -> Int? in
      // Announced, then the count; `reachedZero` comes after the count, and looks at the announcement. One of the two
      // sees the other: either this sees zero, or that takes the lock, behind this, and finds this waiter.
      state.pointee.isAwaited.store(true, ordering: .sequentiallyConsistent)
      Primitive.fence()
      if isZero { return nil }
      let waiters = state.pointee.waiters ?? WaiterList()
      state.pointee.waiters = waiters
      return waiters.append(waiter)
    }
    if entry == nil { waiter.resume() }
    return entry
  }

  /// Takes a waiter off the list. Returns false when it is not there any more: it has been resumed, or is about to be.
  @discardableResult
  func forget(_ entry: Int) -> Bool {
    cell.withLock { state.pointee.waiters?.remove(entry) ?? false }
  }

  /// Inside the section of the release that brought the count to zero.
  func reachedZero() {
    // See `atZero`. A lock for each of many counters that nobody waits for would be half of what their kill costs.
    Primitive.fence()
    if !state.pointee.isAwaited.load(ordering: .sequentiallyConsistent) { return }
    // Zero still: if the owner has resurrected the counter meanwhile, it has woken those who waited for this zero, and
    // whoever is on the list waits for the next.
    let woken = cell.withLock { isZero ? takeWaiters() : [] }
    for waiter in woken { waiter.resume() }
  }

  /// Under the cell's lock.
  func takeWaiters() -> [Waiter] { state.pointee.waiters?.takeAll() ?? [] }

  /// How many wait.
  var waiterCount: Int { cell.withLock { state.pointee.waiters?.count ?? 0 } }
}
