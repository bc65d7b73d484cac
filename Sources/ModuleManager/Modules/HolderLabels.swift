internal import Quiescence

/// The labels under which a module is held.
///
/// They have a lock of their own, which is held only briefly: hooks take it inside their sections.
final class HolderLabels: Sendable {
  private let counts = Locked<[String: Int]>([:])

  /// Call this after a reference was acquired.
  func add(_ label: String) { counts.withLock { $0[label, default: 0] += 1 } }

  /// Call this before the reference is released. Returns false if no reference is held under this
  /// label.
  func remove(_ label: String) -> Bool {
    counts.withLock { counts in
      guard let count = counts[label] else { return false }
      counts[label] = count == 1 ? nil : count - 1
      return true
    }
  }

  /// Sorted by label.
  var holders: [ModuleHolder] {
    counts.withLock { $0 }.sorted { $0.key < $1.key }.map { ModuleHolder(label: $0.key, count: $0.value) }
  }
}

// MARK: - References under a label

extension Module {
  /// Acquires a reference under a label, which appears in `holders`. Returns false like
  /// ``get(_:)``.
  ///
  /// Takes a lock; allocates for a label that is new or longer than 15 bytes. Does not wait for
  /// readers.
  func get(for label: String) -> Bool {
    if !get(label) { return false }
    labels.add(label)
    return true
  }

  /// Releases a reference that was acquired under this label, like ``put(_:)``.
  func put(for label: String) {
    if !labels.remove(label) { Misuse.releasedUnderLabel(label, of: name) }
    put(label)
  }
}

extension Misuse {
  @inline(never)
  static func releasedUnderLabel(_ label: String, of module: String) -> Never {
    fatalError("module \(module): released by \"\(label)\", which holds no reference")
  }
}
