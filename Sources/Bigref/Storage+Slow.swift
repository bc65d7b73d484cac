internal import Quiescence
internal import Synchronization

/// Counting where the sequence does not: after a kill, without restartable sequences or slots, and with holders to record.
///
/// In any phase `count` is right to count on: while the slots count as well, it holds the bias. The `Memb` section is for
/// the phase `shared`, whose confirmation waits for it, and for the cell: it is recycled after a grace period, so whoever
/// brings the count to zero can still wake the waiters when the owner destroys the counter at once.
extension Storage {
  @inline(never) @usableFromInline
  func acquireSlowly(for label: String?) {
    Memb.read { _ in
      if phase == .shared { return cell.addAtomically(1) }
      let old = state.pointee.count.add(1, ordering: .acquiringAndReleasing).oldValue
      if old <= 0 { Misuse.acquiredAfterZero() }
      record(label, 1)
    }
  }

  @inline(never) @usableFromInline
  func tryAcquireSlowly(onlyLive: Bool, for label: String?) -> Bool {
    Memb.read { _ in
      let phase = phase
      if phase == .shared {
        // In one section with the test: a kill that it did not see waits for the add.
        cell.addAtomically(1)
        return true
      }
      if onlyLive && !phase.isLive { return false }
      if !addUnlessZero() { return false }
      if onlyLive {
        // Count, then mode; a kill stores the mode, then adds up. One of the two sees the other: either the kill's sum
        // has this reference, or it is given back here.
        Primitive.fence()
        if !self.phase.isLive {
          release()
          return false
        }
      }
      record(label, 1)
      return true
    }
  }

  @inline(never) @usableFromInline
  func releaseSlowly(for label: String?) {
    Memb.read { _ in
      if phase == .shared { return cell.addAtomically(-1) }
      record(label, -1)
      release()
    }
  }

  /// Inside a section: at zero, the owner may destroy the counter at once.
  func release() {
    let count = state.pointee.count.subtract(1, ordering: .acquiringAndReleasing).newValue
    if count < 0 { Misuse.releasedBelowZero() }
    if count == 0 { reachedZero() }
  }

  private func addUnlessZero() -> Bool {
    var old = state.pointee.count.load(ordering: .relaxed)
    while old != 0 {
      let (isDone, now) = state.pointee.count.weakCompareExchange(
        expected: old, desired: old + 1, ordering: .acquiringAndReleasing)
      if isDone { return true }
      old = now
    }
    return false
  }
}
