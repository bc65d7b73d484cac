internal import Quiescence

/// Who holds a module, by what they call themselves.
///
/// Under a lock of its own, under which nothing else happens: hooks take it, inside their sections.
final class HolderLabels: Sendable {
  private let counts = Locked<[String: Int]>([:])

  /// Whoever has just taken a reference says who it is.
  func add(_ label: String) { counts.withLock { $0[label, default: 0] += 1 } }

  /// Before the reference is given back. False when nobody holds under this label.
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
  /// Counts a reference under a label, by which `holders` names it. False as of ``get(_:)``.
  ///
  /// A lock, and memory for a label that is new or longer than 15 bytes; does not wait for readers.
  func get(for label: String) -> Bool {
    if !get(label) { return false }
    labels.add(label)
    return true
  }

  /// Gives a reference back that was taken under the label. As ``put(_:)``.
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
