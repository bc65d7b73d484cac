public import Synchronization

/// Proof of being inside a section of a ``SleepableDomain``; leaves it when it ends.
///
/// Nobody makes one: ``SleepableDomain/read(_:)`` lends one to its body, which may suspend. It cannot be copied, escape
/// the body, or be handed to another task, and neither can what is borrowed with it.
public struct SleepableSection: ~Copyable, ~Escapable {
  /// Alive: whoever lends a section borrows the domain meanwhile.
  @usableFromInline
  let core: Unmanaged<SleepableCore>

  /// Where it was counted.
  @usableFromInline
  let cell: ProcessorCell

  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(entering domain: borrowing SleepableDomain) {
    core = .passUnretained(domain.core)
    let cell = ProcessorCell(domain.front.pointee.load(ordering: .relaxed))
    // False when a grace period has closed the cell since the load above, and where restartable sequences do not count.
    self.cell = cell.add(1) ? cell : SleepableCore.enterSlowly(core)
  }

  @inlinable @inline(__always)
  deinit {
    // False when a grace period waits for this section, and where restartable sequences do not count.
    if !cell.add(-1) { SleepableCore.leaveSlowly(core, cell) }
  }
}
