import Quiescence

/// Tests grace periods under every load that readers, writers and a scheduler can create, after the
/// kernel's rcutorture.
///
/// Writers replace elements. Each replaced element goes through a pipe: its age increases by one
/// after every grace period, and it is reused at age ten. A reader that has found an element checks
/// its age at the end of the section: if a grace period has ended although the reader was inside,
/// the age is 2 or more. In addition, readers report when they are inside a section, so a thread
/// that has waited for a grace period can check whether it has really waited for each of them.
/// Every callback is counted, and a watchdog finds waits that do not end.
///
/// Source: Linux `kernel/rcu/rcutorture.c`, Documentation/RCU/torture.rst.
public enum Torture {
  /// Runs one torture. Blocks; run one at a time in a process.
  ///
  /// If a thread hangs, it is left behind: the process should end.
  ///
  /// - Parameters:
  ///   - isOver: Blocks for at most this duration. Returns true to end the run early.
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
