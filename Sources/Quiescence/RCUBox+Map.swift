extension RCUBox where Value: ~Copyable {
  /// Makes cells of parts of the value: call it as a function.
  ///
  /// ```swift
  /// struct Settings: Sendable { var limits = Limits(), names = ["a"] }
  /// struct Limits: Sendable { var hops = 8 }
  /// let settings = RCUBox(Settings())
  /// let hops = settings.map(\.limits.hops)
  /// let isNamed = settings.map { !$0.names.isEmpty }
  /// print(hops.read { $0 + 1 }, isNamed.snapshot())
  /// ```
  ///
  /// A property, not a method: Swift 6.3 takes the result of a method with arguments for a value that outlives
  /// a box in a local variable.
  ///
  /// - Complexity: none.
  @inlinable
  public var map: Projector<Value, F> {
    @_lifetime(borrow self) @inline(__always)
    borrowing get { Projector(self) }
  }

  /// Lends the box itself: for projections and caches of a box that is a field of a class.
  ///
  /// ```swift
  /// final class Server: Sendable { let limit = RCUBox(100) }
  /// let server = Server()
  /// server.limit.lend { limit in
  ///   var cached = limit.cached()
  ///   for _ in 0..<10 { cached.read { print($0) } }
  /// }
  /// ```
  ///
  /// Swift 6.3 borrows a noncopyable field of a class for one expression only, and takes what depends on it for
  /// a value that outlives it. Here the expression is the whole call.
  ///
  /// - Complexity: none.
  @inlinable @inline(__always)
  public borrowing func lend<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing RCUBox) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(self)
  }
}
