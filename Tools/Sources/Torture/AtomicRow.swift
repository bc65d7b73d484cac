import Synchronization

/// Counters side by side, which start at zero. Whoever owns a row alone uses ``bump(_:)``.
final class AtomicRow: @unchecked Sendable {
  // Unchecked for the memory, which holds atomics alone and lives as long as the row.
  private let memory: UnsafeMutablePointer<Atomic<Int>>
  private let count: Int

  init(_ count: Int) {
    self.count = count
    memory = .allocate(capacity: count)
    for index in 0..<count { (memory + index).initialize(to: Atomic(0)) }
  }

  deinit {
    memory.deinitialize(count: count)
    memory.deallocate()
  }

  subscript(index: Int) -> Int { memory[index].load(ordering: .relaxed) }

  /// Any thread.
  func add(_ amount: Int = 1, at index: Int) {
    memory[index].add(amount, ordering: .relaxed)
  }

  /// By the owner alone. A locked instruction in a reader would be a fence, and hide that one is missing elsewhere.
  @inline(__always)
  func bump(_ index: Int) {
    memory[index].store(memory[index].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  var values: [Int] { (0..<count).map { self[$0] } }
}
