public import Synchronization

extension SleepableCore {
  /// Enters when a grace period has just begun, or without restartable sequences. Returns where it counted.
  @inline(never) @usableFromInline
  static func enterSlowly(_ front: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer>>) -> ProcessorCell {
    while true {
      // Acquire: the cell may have been opened just now.
      let cell = ProcessorCell(front.pointee.load(ordering: .acquiring))
      if cell.add(1) { return cell }
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

  @inline(never) @usableFromInline
  static func leaveSlowly(_ core: Unmanaged<SleepableCore>, _ cell: ProcessorCell) {
    let left = Memb.read { _ -> Int in
      if phase(cell) == .shared {
        cell.addAtomically(-1)
        return bias
      }
      // Release: what the section has read is read before whoever waits goes on.
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
