internal import Quiescence
internal import Synchronization

/// The waiters for a counter's zero. Guarded by the cell's lock.
final class WaiterList {
  /// Each waiter has the number that removes it.
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
  /// Resumes `waiter` at zero, or at once if the counter is zero. Returns a number for
  /// ``forget(_:)``, or nil if the waiter was resumed at once.
  func atZero(_ waiter: Waiter) -> Int? {
    let entry = cell.withLock { () -> Int? in
      // waiter: stores `isAwaited`, then loads the count. last release: stores the count, then
      // loads `isAwaited`. With a full fence between, at least one of the two sees the other's
      // store: either this thread sees zero, or the release takes the lock after this thread and
      // finds the waiter on the list.
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

  /// Removes a waiter from the list. Returns false if it is not on the list: it was resumed, or is
  /// about to be.
  @discardableResult
  func forget(_ entry: Int) -> Bool {
    cell.withLock { state.pointee.waiters?.remove(entry) ?? false }
  }

  /// Call this inside the section of the release that brought the count to zero.
  func reachedZero() {
    // The other half of `atZero`. Without this test, a batch of counters that have no waiters would
    // spend half of its kill in these locks.
    Primitive.fence()
    if !state.pointee.isAwaited.load(ordering: .sequentiallyConsistent) { return }
    // Test again under the lock. If the owner has resurrected the counter in between, it has woken
    // the waiters for this zero, and any waiter on the list waits for the next.
    let woken = cell.withLock { isZero ? takeWaiters() : [] }
    for waiter in woken { waiter.resume() }
  }

  /// The caller holds the cell's lock.
  func takeWaiters() -> [Waiter] { state.pointee.waiters?.takeAll() ?? [] }

  /// The number of waiters.
  var waiterCount: Int { cell.withLock { state.pointee.waiters?.count ?? 0 } }
}
