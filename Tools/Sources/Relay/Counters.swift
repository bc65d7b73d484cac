internal import Synchronization

/// One worker's statistics, on cache lines of their own. Only the worker writes; any thread may
/// read.
struct Counters: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer: it points to atomics.
  private let values: UnsafeMutablePointer<Atomic<Int>>

  enum Name: Int, CaseIterable {
    case received, sent, dropped, stolen, moduleCalls, flows, kernelDrops, errors
  }

  /// Two cache lines, because processors fetch cache lines in pairs.
  private static let alignment = 128

  init() {
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: Self.alignment, alignment: Self.alignment)
    values = raw.bindMemory(to: Atomic<Int>.self, capacity: Name.allCases.count)
    for name in Name.allCases { (values + name.rawValue).initialize(to: Atomic(0)) }
  }

  deinit {
    values.deinitialize(count: Name.allCases.count)
    UnsafeMutableRawPointer(values).deallocate()
  }

  /// Only the worker may call this: with one writer, no locked instruction is needed.
  @inline(__always)
  func add(_ count: Int, to name: Name) {
    let value = values + name.rawValue
    value.pointee.store(value.pointee.load(ordering: .relaxed) &+ count, ordering: .relaxed)
  }

  func value(_ name: Name) -> Int { values[name.rawValue].load(ordering: .relaxed) }

  func add(to statistics: inout RelayStatistics) {
    statistics.received += value(.received)
    statistics.sent += value(.sent)
    statistics.dropped += value(.dropped)
    statistics.stolen += value(.stolen)
    statistics.moduleCalls += value(.moduleCalls)
    statistics.flows += value(.flows)
    statistics.kernelDrops += value(.kernelDrops)
    statistics.errors += value(.errors)
  }
}
