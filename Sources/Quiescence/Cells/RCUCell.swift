/// Something whose current value can be read at any time: a box, a part of one, or a constant.
///
/// A parameter for any cell is spelled `borrowing some RCUCell<Value> & ~Copyable & ~Escapable`:
/// the code needs neither to copy the cell nor to keep it. `some RCUCell<Value>` alone takes
/// copyable cells: a ``SharedRCUBox``, a ``ConstantCell``. Either compiles to the machine code of
/// the cell's own `read`:
///
/// ```swift
/// func next(
///   _ index: Int, in hops: borrowing some RCUCell<[Int]> & ~Copyable & ~Escapable
/// ) -> Int? {
///   hops.read { index < $0.count ? $0[index] : nil }
/// }
/// print(next(1, in: ConstantCell([10, 20])) == 20)
/// ```
///
/// A cell of a noncopyable value has the same `read`, but no conformance: Swift has no noncopyable
/// associated types yet.
public protocol RCUCell<Value>: ~Copyable, ~Escapable, Sendable {
  /// What the cell holds. Any thread may read it.
  associatedtype Value: Sendable

  /// Lends the current value to `body`. What it costs, and on which threads, the cell says.
  borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result
}

extension RCUCell where Self: ~Copyable & ~Escapable {
  /// A copy of the current value, to keep or to carry across an `await`.
  ///
  /// - Complexity: one `read(_:)` and one copy of the value.
  @inlinable @inline(__always)
  public borrowing func snapshot() -> Value {
    read { value in copy value }
  }
}
