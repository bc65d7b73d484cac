import Quiescence

/// Grace periods under everything that readers, writers and a scheduler can do to them, after the kernel's rcutorture.
///
/// Writers replace elements, and each replaced one goes through a pipe: it is a step older after every grace period,
/// and used again after ten. A reader that has found an element looks at its age at the end of the section: a grace
/// period that ended although the reader was inside shows as an age of 2. Beside that readers say when they are
/// inside, so that whoever has waited for a grace period can look whether somebody was left out; every callback is
/// counted; and a watchdog looks for waits without an end.
///
/// Source: Linux `kernel/rcu/rcutorture.c`, Documentation/RCU/torture.rst.
public enum Torture {
  /// Runs one torture. Blocks; one at a time in a process.
  ///
  /// When somebody hangs, the threads that hang are left behind: the process should end.
  ///
  /// - Parameters:
  ///   - isOver: Blocks for at most the duration; returns true to end early.
  ///   - progress: Called once a second.
  public static func run(
    _ options: TortureOptions, isOver: (Duration) -> Bool, progress: (TortureProgress) -> Void
  ) throws(TortureError) -> TortureSummary {
    switch options.flavor {
    case .memb: try run(Memb.self, options, isOver, progress)
    case .mb: try run(MB.self, options, isOver, progress)
    case .bulletproof: try run(Bulletproof.self, options, isOver, progress)
    case .qsbr: try run(QSBR.self, options, isOver, progress)
    }
  }

  private static func run<F: TortureFlavor>(
    _: F.Type, _ options: TortureOptions, _ isOver: (Duration) -> Bool, _ progress: (TortureProgress) -> Void
  ) throws(TortureError) -> TortureSummary {
    switch options.breakage {
    case .noGracePeriod: try Run<NoGracePeriod<F>>(options).run(isOver: isOver, progress: progress)
    case .lostWakeup: try Run<LostWakeup<F>>(options).run(isOver: isOver, progress: progress)
    case nil, .earlyFree, .leak: try Run<F>(options).run(isOver: isOver, progress: progress)
    }
  }
}
