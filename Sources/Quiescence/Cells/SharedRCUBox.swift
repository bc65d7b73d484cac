/// A shared reference to an ``RCUBox``: for fields of classes, arrays, dictionaries and closures
/// that stay.
///
/// ```swift
/// var tables = ["a": SharedRCUBox([1, 2]), "b": SharedRCUBox([3])]
/// let first = tables["a"]
/// tables["a"] = nil
/// print(first?.read { $0.count } ?? 0)
/// first?.box.update { $0.append(3) }
/// ```
///
/// Noncopyable types cannot be elements of arrays and dictionaries, and code that takes a copyable
/// cell cannot take a box. This is an object that holds one. A read through it costs the read of
/// the box and a load; what Swift adds for the object, a retain and a release, depends on where the
/// reference is. ``cache()`` gives an object that reads often, such as a handler of an event loop,
/// a copy of its own.
public final class SharedRCUBox<Value: ~Copyable & Sendable, F: Flavor>: Sendable {
  /// The box, with all its verbs.
  public let box: RCUBox<Value, F>

  /// An object with this box: of another flavor, or with a reclaimer of its own.
  ///
  /// - Complexity: an allocation, and those of the box.
  public init(box: consuming RCUBox<Value, F>) {
    self.box = box
  }

  /// Lends the current version to `body`. As ``RCUBox/read(_:)``.
  @inlinable @inline(__always)
  public func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try box.read(body)
  }
}

extension SharedRCUBox where F == Memb, Value: ~Copyable {
  /// An object with a box of `value`, under the default flavor.
  public convenience init(_ value: consuming Value) {
    self.init(box: RCUBox(value))
  }
}

extension SharedRCUBox: RCUCell {}
