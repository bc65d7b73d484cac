/// Proof that the thread is inside a read-side critical section; leaves it when it ends.
///
/// Nobody makes one: ``Flavor/read(_:)`` and ``QSBR/withOnlineReader(_:)`` lend one to their body.
/// It cannot be copied, escape the body, or be sent to another thread.
public struct ReadSection<F: Flavor>: ~Copyable, ~Escapable {
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(entering: Void) {
    F.unsafeEnter()
  }

  deinit {
    F.unsafeLeave()
  }

  /// Ends everything that is borrowed with the section, and lets a grace period that waits for it pass.
  ///
  /// For a long scan: a section that lasts keeps everything that is retired meanwhile in memory. Does not compile
  /// while anything that was loaded with the section is used later; load it again. Inside another section of the
  /// same thread the grace period waits for the outer one; under `QSBR` it waits for the reader's next
  /// ``OnlineReader/quiescentState()``, since a section is part of its thread's online time.
  ///
  /// ```swift
  /// Memb.read { section in
  ///   for shard in shards {
  ///     scan(shard.load(section))
  ///     section.repin()
  ///   }
  /// }
  /// ```
  ///
  /// - Complexity: that of a section: it is left and entered again.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func repin() {
    F.unsafeLeave()
    F.unsafeEnter()
  }
}
