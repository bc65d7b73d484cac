public import Quiescence

/// Who holds references to a counter that records it.
public struct BigrefHolder: Sendable, Hashable {
  /// What was given to ``Bigref/acquire(for:)``; "unlabelled" for references without a label.
  public var label: String
  /// How many references.
  public var count: Int
}

extension Bigref {
  /// Who holds references, by label; empty unless the counter was made with `recordingHolders`.
  ///
  /// - Complexity: O(labels), under a lock.
  public var holders: [BigrefHolder] { storage.holders }

  /// Counts one more reference, under a label if the counter records them. Else as ``acquire()``, and `label` is not
  /// evaluated while the counter is live.
  @inlinable @inline(__always)
  public func acquire(for label: @autoclosure () -> String) {
    if !storage.cell.add(1) { storage.acquireSlowly(for: label()) }
  }

  /// Counts one more reference under a label, unless the count is zero. See ``tryAcquire()``.
  @inlinable @inline(__always)
  public func tryAcquire(for label: @autoclosure () -> String) -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: false, for: label())
  }

  /// Counts one more reference under a label, unless the counter was killed. See ``tryAcquireLive()``.
  @inlinable @inline(__always)
  public func tryAcquireLive(for label: @autoclosure () -> String) -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: true, for: label())
  }

  /// Gives a reference back that was taken under this label. Traps when the label holds none, if labels are recorded.
  @inlinable @inline(__always)
  public func release(for label: @autoclosure () -> String) {
    if !storage.cell.add(-1) { storage.releaseSlowly(for: label()) }
  }
}

/// References by label. Under the cell's lock.
final class HolderList {
  var counts: [String: Int] = [:]
}

extension Storage {
  /// Counts a reference of a label, or one less.
  func record(_ label: String?, _ difference: Int) {
    guard let holders = state.pointee.holders else { return }
    let label = label ?? "unlabelled"
    cell.withLock {
      let count = (holders.counts[label] ?? 0) + difference
      if count < 0 { Misuse.releasedUnderLabel(label) }
      holders.counts[label] = count == 0 ? nil : count
    }
  }

  var holders: [BigrefHolder] {
    let counts = cell.withLock { state.pointee.holders?.counts ?? [:] }
    return counts.sorted { $0.key < $1.key }.map { BigrefHolder(label: $0.key, count: $0.value) }
  }
}
