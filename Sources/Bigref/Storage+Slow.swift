internal import Quiescence
internal import Synchronization

/// Counting without the restartable sequence: after a kill, without sequences or slots, and with
/// labels.
///
/// Counting on `count` is correct in every phase: as long as the slots count too, `count` holds the
/// bias. The `Memb` section has two purposes. In the phase `shared`, the confirmation of a kill
/// waits for the section, and with it for the addition to the slot. And a cell is recycled only
/// after a grace period: when a release brings the count to zero and the owner destroys the counter
/// at once, that release can still wake the waiters.
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
        // The test and the addition are in one section: a kill that stored its mode after the test
        // waits for the addition.
        cell.addAtomically(1)
        return true
      }
      if onlyLive && !phase.isLive { return false }
      if !addUnlessZero() { return false }
      if onlyLive {
        // The count, then the mode; a kill stores the mode, then adds up the slots. At least one of
        // the two sees the other: either the sum includes this reference, or this thread sees the
        // new mode and gives the reference back.
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

  /// Call this inside a section: at zero, the owner may destroy the counter at once.
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
