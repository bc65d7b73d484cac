public import Synchronization

/// Proof of being inside a section of a ``SleepableDomain``; leaves it when it ends.
///
/// `SleepableDomain.read(_:)` lends one to its body, which may suspend; there is no other way to
/// get one. It cannot be copied, escape the body, or be handed to another task, and neither can
/// what is borrowed with it.
public struct SleepableSection: ~Copyable, ~Escapable {
  /// Alive: the call that lends the section borrows the domain meanwhile.
  @usableFromInline
  let core: Unmanaged<SleepableCore>

  /// Where it was counted.
  @usableFromInline
  var cell: ProcessorCell

  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(entering domain: borrowing SleepableDomain) {
    core = .passUnretained(domain.core)
    let cell = ProcessorCell(domain.front.pointee.load(ordering: .relaxed))
    // False when a grace period has closed the cell since the load above, and where restartable
    // sequences do not count.
    self.cell = cell.add(1) ? cell : SleepableCore.enterSlowly(core)
  }

  @inlinable @inline(__always)
  deinit {
    // False when a grace period waits for this section, and where restartable sequences do not
    // count.
    if !cell.add(-1) { SleepableCore.leaveSlowly(core, cell) }
  }

  /// Ends everything that is borrowed with the section, and lets a grace period that waits for it
  /// pass: see ``ReadSection/repin()``.
  ///
  /// - Complexity: that of a section: it is left and entered again.
  @_lifetime(self: copy self)
  public mutating func repin() {
    if !cell.add(-1) { SleepableCore.leaveSlowly(core, cell) }
    let front = core._withUnsafeGuaranteedRef { $0.front }
    let open = ProcessorCell(front.pointee.load(ordering: .relaxed))
    cell = open.add(1) ? open : SleepableCore.enterSlowly(core)
  }
}
