public import Synchronization

extension SharedRCUBox {
  /// One reader's own copy of what a shared box holds, renewed when the box has a new version. As
  /// ``Cached``, for fields of classes.
  ///
  /// ```swift
  /// final class Handler {
  ///   var limit: SharedRCUBox<Int, Memb>.Cache
  ///   init(_ limit: SharedRCUBox<Int, Memb>) { self.limit = limit.cache() }
  ///   func handle(_ hops: Int) -> Bool { limit.read { hops < $0 } }
  /// }
  /// print(Handler(SharedRCUBox(100)).handle(3))
  /// ```
  ///
  /// It keeps the box alive, and between reads the version's parts that its copy refers to. It
  /// belongs to one reader: it cannot be copied or shared.
  public struct Cache: ~Copyable {
    @usableFromInline
    let shared: SharedRCUBox

    /// Even, and not above the number of the version that ``value`` is from.
    @usableFromInline
    var number: UInt

    @usableFromInline
    var value: Value

    @inlinable
    init(_ shared: SharedRCUBox) {
      self.shared = shared
      (number, value) = Self.copy(shared)
    }

    /// Lends the copy to `body`, after renewing it if the box has a newer version.
    ///
    /// - Complexity: one load and a compare when nothing was published since; else a read and a
    ///   copy.
    /// - Threads: any, one at a time; under `QSBR` only online.
    @inlinable @inline(__always)
    public mutating func read<Result: ~Copyable, Failure: Error>(
      _ body: (borrowing Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
      renewIfNeeded()
      return try body(value)
    }

    /// A copy of the current value.
    ///
    /// - Complexity: as ``read(_:)``, and a copy of the value.
    /// - Threads: as ``read(_:)``.
    @inlinable @inline(__always)
    public mutating func snapshot() -> Value {
      renewIfNeeded()
      return value
    }

    @inlinable @inline(__always)
    mutating func renewIfNeeded() {
      // Relaxed, as in `Cached`: behind a number that has not changed there is nothing new to read.
      if _slowPath(shared.box.published.publications.load(ordering: .relaxed) != number) { renew() }
    }

    @inlinable @inline(never)
    mutating func renew() {
      (number, value) = Self.copy(shared)
    }

    @inlinable
    static func copy(_ shared: SharedRCUBox) -> (UInt, Value) {
      // The number first, and made even, as in `Cached.copy`. The other way round, a publication in
      // between would give the old value the new number, and it would be kept for good.
      let number = shared.box.published.publications.load(ordering: .acquiring)
      return (number & ~1, shared.box.snapshot())
    }
  }

  /// A reader with its own copy of the value, which it renews when the box has a new version.
  ///
  /// - Complexity: one read and one copy.
  /// - Threads: as ``RCUBox/read(_:)``.
  @inlinable
  public func cache() -> Cache { Cache(self) }
}

@available(*, unavailable, message: "a cache belongs to one reader")
extension SharedRCUBox.Cache: Sendable {}
