/// A reference to a published value that cannot outlive the section it was loaded in.
///
/// Reading ``value`` is one load from memory: no copy of the value, no reference counting.
public struct Borrowed<Value: ~Copyable>: ~Escapable {
  @usableFromInline
  package let pointer: UnsafePointer<Value>

  @inlinable @inline(__always)
  @_lifetime(immortal)
  package init(unsafe pointer: UnsafePointer<Value>) {
    self.pointer = pointer
  }

  /// The value in place. Others may have published a newer one; this one stays until the section
  /// ends.
  @inlinable
  public var value: Value {
    @inline(__always)
    unsafeAddress { pointer }
  }
}
