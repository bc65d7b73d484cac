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

extension ReadSection where F.Token == Void {
  /// Ends everything that is borrowed with the section, and lets a grace period that waits for it
  /// pass.
  ///
  /// For a long scan: a section that lasts keeps everything that is retired meanwhile in memory.
  /// The compiler refuses a later use of anything that was loaded with the section before; load it
  /// again. Inside another section of the same thread the grace period waits for the outer one. A
  /// section under `QSBR` has no `repin()`: it is a part of its thread's online time, which ends at
  /// ``OnlineReader/quiescentState()``.
  ///
  /// ```swift
  /// Memb.read { section in
  ///   for shard in shards {
  ///     scan(shard.box.load(section))
  ///     section.repin()
  ///   }
  /// }
  /// ```
  ///
  /// - Complexity: that of a section: the thread leaves it and enters it again.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func repin() {
    F.unsafeLeave()
    F.unsafeEnter()
  }
}
