internal import Synchronization

extension SleepableCore {
  /// Enters when a grace period has just begun, or where restartable sequences do not count: in the
  /// whole process, on this thread, or on this processor. Returns where it counted.
  @inline(never) @usableFromInline
  static func enterSlowly(_ core: Unmanaged<SleepableCore>) -> ProcessorCell {
    let front = core._withUnsafeGuaranteedRef { $0.front }
    while true {
      // Acquire: the cell may have been opened just now.
      let cell = ProcessorCell(front.pointee.load(ordering: .acquiring))
      if cell.add(1) { return cell }
      if phase(cell) == .open {
        if enterOutsideOfSlots(core, cell) { return cell }
        continue
      }
      // In one section with the test: a grace period that this did not see waits for the add.
      let isCounted = Memb.read { _ in
        switch phase(cell) {
        case .shared: cell.addAtomically(1)
        case .counted: count(cell).pointee.add(1, ordering: .acquiringAndReleasing)
        case .open, .closed: return false
        }
        return true
      }
      // Closed: then the front is another one by now.
      if isCounted { return cell }
    }
  }

  /// Counts on `count` while other threads count on the slots: on a thread that is not registered
  /// for restartable sequences, or on a processor without a slot. False when the cell was closed
  /// meanwhile.
  ///
  /// A grace period adds the slots to `count` in one atomic step, and takes the bias off in the
  /// same step. So:
  ///
  /// - A section that counts before this step is waited for, whatever else happens.
  /// - A section that finds the bias gone counts nowhere. An add would be lost: the grace period
  ///   may have ended, and the last section that leaves may be about to put the bias back.
  /// - The bias may be that of the next time that the cell is open, or of the time before. Then the
  ///   count is right all the same, but the section may have begun after the cell was closed: so
  ///   look at the mode once more, after counting. If it is closed, leave as any section does,
  ///   since a grace period may already wait for this one.
  private static func enterOutsideOfSlots(_ core: Unmanaged<SleepableCore>, _ cell: ProcessorCell) -> Bool {
    let count = count(cell)
    var old = count.pointee.load(ordering: .relaxed)
    while old > bias / 2 {
      let (isDone, now) = count.pointee.weakCompareExchange(
        expected: old, desired: old + 1, ordering: .acquiringAndReleasing)
      old = now
      if !isDone { continue }
      // Acquire, after an acquire of the count: the mode is at least as new as the bias that was
      // counted on.
      if phase(cell) == .open { return true }
      leaveSlowly(core, cell)
      return false
    }
    return false
  }

  @inline(never) @usableFromInline
  static func leaveSlowly(_ core: Unmanaged<SleepableCore>, _ cell: ProcessorCell) {
    let left = Memb.read { _ -> Int in
      if phase(cell) == .shared {
        cell.addAtomically(-1)
        return bias
      }
      // Release: the reads of the section come before what a waiter does after the grace period.
      return count(cell).pointee.subtract(1, ordering: .acquiringAndReleasing).newValue
    }
    // Only after the sum was taken: before, the bias is in.
    if left == 0 { core._withUnsafeGuaranteedRef { $0.finish(cell) } }
  }

  private static func phase(_ cell: ProcessorCell) -> Phase {
    let phase = ProcessorCell.phase(cell.mode.pointee.load(ordering: .acquiring))
    guard phase >= ProcessorCell.firstPhase, let phase = Phase(rawValue: phase - ProcessorCell.firstPhase)
    else { Misuse.domainDestroyed() }
    return phase
  }
}
