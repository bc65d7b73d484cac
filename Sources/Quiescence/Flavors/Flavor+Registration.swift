internal import _QuiescenceShims

extension Flavor {
  /// Registers the calling thread as a reader now, rather than at its first read. Once is enough:
  /// the thread stays registered until it ends.
  ///
  /// For a thread that must not take a lock or allocate at its first read: whose signal handlers
  /// read, or that has to answer in time. What a handler calls should run once outside of it as
  /// well, since the Swift runtime takes locks and allocates when generic code meets a type for the
  /// first time.
  ///
  /// - Complexity: O(1), three locks; may allocate. Nothing when the thread is registered.
  /// - Threads: any, also online under ``QSBR`` and inside a section; not in a signal handler.
  public static func registerThread() {
    if self == QSBR.self { return qs_qsbr_register() }
    // The first section registers.
    if isInside { return }
    unsafeLeave(unsafeEnter())
  }
}
