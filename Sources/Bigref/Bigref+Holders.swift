public import Quiescence

extension Bigref {
  /// A label, and how many references are held under it.
  public struct Holder: Sendable, Hashable, Codable, CustomStringConvertible {
    /// The label passed to ``Bigref/acquire(for:)``, or the kind of reference; "unlabeled" for
    /// references without a label.
    public let label: String
    /// The number of references.
    public let count: Int

    package init(label: String, count: Int) {
      self.label = label
      self.count = count
    }

    /// The label, with the number of references if it is not one.
    public var description: String { count == 1 ? label : "\(label) × \(count)" }
  }
}

extension Bigref {
  /// The holders of references, sorted by label. Empty unless the counter was created with
  /// `recordingHolders`.
  ///
  /// - Complexity: O(labels), under a lock.
  public var holders: [Holder] { storage.holders }

  /// Adds a reference, and records the label if the counter records labels. Otherwise the same as
  /// ``acquire()``, and `label` is not evaluated while the counter is live.
  @inlinable @inline(__always)
  public func acquire(for label: @autoclosure () -> String) {
    if !storage.cell.add(1) { storage.acquireSlowly(for: label()) }
  }

  /// Adds a reference under a label, unless the count is zero. See ``tryAcquire()``.
  @inlinable @inline(__always)
  public func tryAcquire(for label: @autoclosure () -> String) -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: false, for: label())
  }

  /// Adds a reference under a label, unless the counter was killed. See ``tryAcquireLive()``.
  @inlinable @inline(__always)
  public func tryAcquireLive(for label: @autoclosure () -> String) -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: true, for: label())
  }

  /// Releases a reference that was acquired under this label. Traps if labels are recorded and this
  /// label holds none.
  @inlinable @inline(__always)
  public func release(for label: @autoclosure () -> String) {
    if !storage.cell.add(-1) { storage.releaseSlowly(for: label()) }
  }
}

/// The number of references by label. Guarded by the cell's lock.
final class HolderList {
  var counts: [String: Int] = [:]
}

extension Storage {
  /// Adds `difference`, 1 or -1, to the references of a label.
  func record(_ label: String?, _ difference: Int) {
    guard let holders = state.pointee.holders else { return }
    let label = label ?? "unlabeled"
    cell.withLock {
      let count = (holders.counts[label] ?? 0) + difference
      if count < 0 { Misuse.releasedUnderLabel(label) }
      holders.counts[label] = count == 0 ? nil : count
    }
  }

  var holders: [Bigref.Holder] {
    let counts = cell.withLock { state.pointee.holders?.counts ?? [:] }
    return counts.sorted { $0.key < $1.key }.map { Bigref.Holder(label: $0.key, count: $0.value) }
  }
}
