/// A cookie for a grace period: says whether every section that was open when the grace period was
/// started has been left.
///
/// ```swift
/// let gracePeriod = Memb.startGracePeriod()
/// // … other work …
/// if gracePeriod.isElapsed { reuse(buffer) }
/// await gracePeriod.elapsed()
/// ```
///
/// Plain data: copy it, keep it, ask from any thread; any number can be outstanding.
///
/// Source: Linux `start_poll_synchronize_rcu()`; liburcu since 0.14.
public struct GracePeriod<F: Flavor>: Hashable, Sendable {
  private let number: UInt64

  init(number: UInt64) {
    self.number = number
  }

  /// Whether every section that was open when it was started has been left. Once true, always true.
  ///
  /// - Complexity: one load. Any thread, also inside a section.
  public var isElapsed: Bool { F.domain.sequence.completed >= number }

  /// Suspends until it has elapsed. Returns at once when it has.
  public func elapsed() async {
    if isElapsed { return }
    // One that begins now has a number at least as high.
    await F.synchronize()
  }

  /// Blocks until it has elapsed. Traps inside a section that it waits for.
  @available(*, noasync, message: "await elapsed() instead of blocking the task's thread")
  public func wait() {
    if !isElapsed { F.synchronize() }
  }
}

extension Flavor {
  /// Starts a grace period and returns at once. It elapses by itself, without a thread that waits
  /// for it. When the system refuses the flavor's thread, it elapses with the next one that is
  /// waited for.
  ///
  /// - Complexity: two locks, no memory; wakes the grace-period thread if it sleeps. All requests
  ///   that come before the next grace period begins are one.
  /// - Threads: any, also inside a section: the section is one of those that it waits for.
  public static func startGracePeriod() -> GracePeriod<Self> {
    // The number first: the grace period that the request leads to begins afterwards, so it has
    // that number or a higher one. The other way round it could have begun in between, and the
    // number might never run.
    let number = domain.sequence.next
    domain.thread.request()
    return GracePeriod(number: number)
  }
}
