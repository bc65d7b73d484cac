public import Synchronization
public import _QuiescenceShims

/// A word of mode, 48 bytes of state, and a slot of its own on every processor: what scalable counters are made of.
///
/// Cells come from an arena: 64 bytes, and 8 bytes a processor where somebody has counted. See `qs_arena.h`.
@usableFromInline
package struct ProcessorCell: @unchecked Sendable {
  // Unchecked: the mode and the slots are atomic, the state is the maker's care.
  @usableFromInline
  let cell: UnsafeMutablePointer<qs_cell>

  /// Takes a free cell: all slots are zero, and nobody counts on them until the mode says so.
  ///
  /// - Complexity: O(1); from the thread's own magazine, every 32nd time under a lock.
  package init() { cell = qs_cell_create() }

  @inlinable
  package init(_ pointer: UnsafeMutableRawPointer) { cell = pointer.assumingMemoryBound(to: qs_cell.self) }

  @inlinable
  package var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(cell) }

  /// Adds to the slot of the current processor if the mode is live, by a restartable sequence. Returns whether it did.
  @inlinable @inline(__always)
  package func add(_ difference: Int) -> Bool { qs_rseq_add(cell, Int64(truncatingIfNeeded: difference)) }

  /// Gives the cell back to the arena: nobody uses it any more, and what it is in stays ``isRetired``, a trap for whoever
  /// does.
  package func recycle() { qs_cell_recycle(cell) }

  /// Runs `body` under a lock that a fork leaves whole; other cells share it, so `body` takes no other's.
  package func withLock<Result>(_ body: () -> Result) -> Result {
    qs_cell_lock(cell)
    defer { qs_cell_unlock(cell) }
    return body()
  }
}

// MARK: - Mode

extension ProcessorCell {
  /// The mode: a phase, which its maker numbers from ``firstPhase`` on, and whether everybody counts on their processors.
  @inlinable
  package var mode: UnsafeMutablePointer<Atomic<UInt64>> {
    pointer.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inlinable
  package static var firstPhase: UInt32 { UInt32(QS_CELL_FIRST_PHASE.rawValue) }

  /// The word of a phase. Live: ``add(_:)`` adds to the slots, for which ``hasSlots`` and ``isRestartable`` must hold.
  @inlinable
  package static func mode(_ phase: UInt32, isLive: Bool = false) -> UInt64 {
    UInt64(phase) << 32 | (isLive ? UInt64(qs_cell_processors()) : 0)
  }

  @inlinable
  package static func phase(_ mode: UInt64) -> UInt32 { UInt32(mode >> 32) }

  /// The mode between the last use and ``recycle()``.
  package static var retired: UInt64 { mode(UInt32(QS_CELL_RETIRED.rawValue)) }

  /// What the maker keeps in the cell: 48 bytes.
  @inlinable
  package var state: UnsafeMutableRawPointer { pointer + 16 }

  @inlinable
  package static var stateSize: Int { 48 }
}

// MARK: - Slots

extension ProcessorCell {
  /// False when the kernel refused the memory for slots.
  package var hasSlots: Bool { cell.pointee.slot != nil }

  private func slot(_ processor: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    // `hasSlots` is the caller's care.
    UnsafeMutableRawPointer(cell.pointee.slot!)
      .advanced(by: processor << Int(QS_SLOT_SHIFT)).assumingMemoryBound(to: Atomic<Int>.self)
  }

  private static var processors: Int { Int(qs_cell_processors()) }

  /// Adds to the slot of the current processor with one atomic instruction. Never beside ``add(_:)``, which may lose it.
  package func addAtomically(_ difference: Int) {
    // The thread may have moved since: the add is atomic, so the slot stays right, only dearer.
    slot(Processor.current % Self.processors).pointee.wrappingAdd(difference, ordering: .relaxed)
  }

  /// The sum of all slots; each may be below zero. Exact when nobody counts on them any more.
  package var sum: Int {
    if !hasSlots { return 0 }
    return (0..<Self.processors).reduce(0) { $0 &+ slot($1).pointee.load(ordering: .relaxed) }
  }

  /// Sets every slot to zero while nobody counts on them.
  package func clear() {
    if !hasSlots { return }
    for processor in 0..<Self.processors {
      let slot = slot(processor)
      // A store where nobody has counted would put the page on the wrong node.
      if slot.pointee.load(ordering: .relaxed) != 0 { slot.pointee.store(0, ordering: .relaxed) }
    }
  }
}

// MARK: - Restartable sequences

extension ProcessorCell {
  /// Whether restartable sequences work in this process. Without them nothing is live in the sense of ``add(_:)``.
  package static let isRestartable = qs_rseq_refusal() == nil

  /// Why ``isRestartable`` is false.
  package static var refusal: String? { qs_rseq_refusal().map { String(cString: $0) } }

  /// The number of a barrier that has not started yet: taken after a mode was stored.
  package static var nextBarrier: UInt64 { qs_rseq_next_barrier() }

  /// Returns when that barrier has passed: what was counted by a mode from before ``nextBarrier`` is in the slots, and
  /// nothing more will be. Whoever asks for the same number, or an earlier one, shares one system call.
  package static func passBarrier(_ number: UInt64) { qs_rseq_pass_barrier(number) }

  /// System calls that ``passBarrier(_:)`` has made.
  package static var barriers: Int { Int(qs_rseq_barriers()) }

  /// What the arena has mapped: bytes of address space a block, and cells handed out.
  package static var usage: (blocks: Int, cells: Int, withoutSlots: Int) {
    let usage = qs_arena_usage()
    return (Int(usage.blocks), Int(usage.cells), Int(usage.without_slots))
  }
}
