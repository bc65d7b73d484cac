public import Synchronization
public import _QuiescenceShims

/// A mode word, 48 bytes of state, and a slot on every processor: the parts of a scalable counter.
///
/// Cells come from an arena. A cell takes 64 bytes, and 8 bytes on each processor where threads
/// have counted. See `qs_arena.h`.
@usableFromInline
package struct ProcessorCell: @unchecked Sendable {
  // Unchecked: the mode and the slots are atomic; the owner of the cell guards the state.
  @usableFromInline
  let cell: UnsafeMutablePointer<qs_cell>

  /// Takes a free cell. All slots are zero, and no thread counts on them before the mode allows it.
  ///
  /// - Complexity: O(1), from the thread's own magazine; every 32nd time under a lock.
  package init() { cell = qs_cell_create() }

  @inlinable
  package init(_ pointer: UnsafeMutableRawPointer) { cell = pointer.assumingMemoryBound(to: qs_cell.self) }

  @inlinable
  package var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(cell) }

  /// Adds to the slot of the current processor by a restartable sequence, if the mode is live.
  /// Returns whether it did.
  @inlinable @inline(__always)
  package func add(_ difference: Int) -> Bool { qs_rseq_add(cell, Int64(truncatingIfNeeded: difference)) }

  /// Returns the cell to the arena. No thread may use it afterwards; its mode stays ``retired``, so
  /// that a later use traps.
  package func recycle() { qs_cell_recycle(cell) }

  /// Runs `body` under a lock that survives a fork. Cells share these locks, so `body` must not
  /// take another cell's.
  package func withLock<Result>(_ body: () -> Result) -> Result {
    qs_cell_lock(cell)
    defer { qs_cell_unlock(cell) }
    return body()
  }
}

// MARK: - Mode

extension ProcessorCell {
  /// The mode: a phase, which the owner numbers from ``firstPhase`` on, and whether threads count
  /// on the slots.
  @inlinable
  package var mode: UnsafeMutablePointer<Atomic<UInt64>> {
    pointer.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inlinable
  package static var firstPhase: UInt32 { UInt32(QS_CELL_FIRST_PHASE.rawValue) }

  /// The mode word of a phase. With `isLive`, ``add(_:)`` adds to the slots; this requires
  /// ``hasSlots`` and ``isRestartable``.
  @inlinable
  package static func mode(_ phase: UInt32, isLive: Bool = false) -> UInt64 {
    UInt64(phase) << 32 | (isLive ? UInt64(qs_cell_processors()) : 0)
  }

  @inlinable
  package static func phase(_ mode: UInt64) -> UInt32 { UInt32(mode >> 32) }

  /// The mode between the last use and ``recycle()``.
  package static var retired: UInt64 { mode(UInt32(QS_CELL_RETIRED.rawValue)) }

  /// The owner's state in the cell: 48 bytes.
  @inlinable
  package var state: UnsafeMutableRawPointer { pointer + 16 }

  @inlinable
  package static var stateSize: Int { 48 }
}

// MARK: - Slots

extension ProcessorCell {
  /// False if the kernel refused the memory for slots.
  package var hasSlots: Bool { cell.pointee.slot != nil }

  private func slot(_ processor: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    // Not nil: the caller has checked `hasSlots`.
    UnsafeMutableRawPointer(cell.pointee.slot!)
      .advanced(by: processor << Int(QS_SLOT_SHIFT)).assumingMemoryBound(to: Atomic<Int>.self)
  }

  private static var processors: Int { Int(qs_cell_processors()) }

  /// Adds to the slot of the current processor with one atomic instruction. Never use this
  /// concurrently with ``add(_:)``, which could overwrite the addition.
  package func addAtomically(_ difference: Int) {
    // The thread may have moved to another processor. The atomic addition is still correct, only
    // slower.
    slot(Processor.current % Self.processors).pointee.wrappingAdd(difference, ordering: .relaxed)
  }

  /// The sum of all slots; single slots may be negative. Exact if no thread is counting on them.
  package var sum: Int {
    if !hasSlots { return 0 }
    return (0..<Self.processors).reduce(0) { $0 &+ slot($1).pointee.load(ordering: .relaxed) }
  }

  /// Sets every slot to zero. No thread may be counting on them.
  package func clear() {
    if !hasSlots { return }
    for processor in 0..<Self.processors {
      let slot = slot(processor)
      // A store to an untouched slot would allocate its page on this processor's node, instead of
      // on the node of the processor that counts there.
      if slot.pointee.load(ordering: .relaxed) != 0 { slot.pointee.store(0, ordering: .relaxed) }
    }
  }
}

// MARK: - Restartable sequences

extension ProcessorCell {
  /// Whether restartable sequences work in this process. Without them, no cell may be live for
  /// ``add(_:)``.
  package static let isRestartable = qs_rseq_refusal() == nil

  /// Why ``isRestartable`` is false; nil if it is true.
  package static var refusal: String? { qs_rseq_refusal().map { String(cString: $0) } }

  /// The number of the next barrier that starts. Take it after storing a mode.
  package static var nextBarrier: UInt64 { qs_rseq_next_barrier() }

  /// Returns after that barrier has passed: the slots then contain everything that was counted in
  /// an earlier mode, and no more will be added. Calls for the same or an earlier number share one
  /// system call.
  package static func passBarrier(_ number: UInt64) { qs_rseq_pass_barrier(number) }

  /// The number of system calls that ``passBarrier(_:)`` has made.
  package static var barriers: Int { Int(qs_rseq_barriers()) }

  /// The arena's blocks, the cells that were handed out, and those without slots.
  package static var usage: (blocks: Int, cells: Int, withoutSlots: Int) {
    let usage = qs_arena_usage()
    return (Int(usage.blocks), Int(usage.cells), Int(usage.without_slots))
  }
}
