/// Proof that the thread is inside a read-side critical section.
///
/// ``Flavor/read(_:)`` enters the section, lends the proof to its body, and leaves the section;
/// there is no other way to get one. It cannot be copied, escape the body, or be sent to another
/// thread.
public struct ReadSection<F: Flavor>: ~Copyable, ~Escapable {
  // No deinit that leaves: Swift 6.3.1 does not call it, in a client's build without optimization,
  // when the only stored property is a token of type Void.
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(entered: Void) {}
}
