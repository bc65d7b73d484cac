/// A cell that always has the same value: what a test passes to code that takes `some RCUCell`.
///
/// ```swift
/// let limit = ConstantCell(100)
/// limit.read { $0 + 1 }
/// ```
///
/// Reading opens no section and costs nothing. Any thread, at any time.
public struct ConstantCell<Value: ~Copyable & Sendable>: ~Copyable, Sendable {
  @usableFromInline
  let value: Value

  /// A cell of `value`.
  @inlinable
  public init(_ value: consuming Value) {
    self.value = value
  }

  /// Lends the value to `body`.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(value)
  }

  /// What `transform` makes of the value, as a constant again. `transform` runs once, here.
  @inlinable
  public borrowing func map<Field: ~Copyable & Sendable, Failure: Error>(
    _ transform: (borrowing Value) throws(Failure) -> Field
  ) throws(Failure) -> ConstantCell<Field> {
    ConstantCell<Field>(try transform(value))
  }
}

extension ConstantCell: Copyable where Value: Copyable {}

extension ConstantCell: RCUCell {}
