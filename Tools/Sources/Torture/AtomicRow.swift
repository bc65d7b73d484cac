import Synchronization

/// A row of counters that start at zero. A thread that alone writes to a row uses ``bump(_:)``.
final class AtomicRow: @unchecked Sendable {
  // Unchecked for the memory, which contains only atomics and lives as long as the row.
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

  /// Only for the thread that owns the row. A locked instruction in a reader would be a fence, and
  /// hide that one is missing in the flavor.
  @inline(__always)
  func bump(_ index: Int) {
    memory[index].store(memory[index].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  var values: [Int] { (0..<count).map { self[$0] } }
}
