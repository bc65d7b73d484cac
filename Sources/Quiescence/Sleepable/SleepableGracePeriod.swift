/// A grace period of a ``SleepableDomain`` that was asked for, and that one can look at.
///
/// Copy it, keep it, ask from any thread; any number can be outstanding. It keeps what it needs of
/// the domain alive.
///
/// Source: Linux `start_poll_synchronize_srcu()`.
public struct SleepableGracePeriod: Hashable, Sendable {
  private let core: SleepableCore
  private let number: UInt64

  init(of core: SleepableCore) {
    self.core = core
    // The number first, as in `Flavor.startGracePeriod()`.
    number = core.next
    core.request()
  }

  /// Whether every section of the domain that was open when it was started has been left. Once
  /// true, always true.
  ///
  /// - Complexity: one load. Any thread, also inside a section.
  public var isElapsed: Bool { core.completed >= number }

  /// Suspends until it has elapsed. Returns at once when it has.
  public func elapsed() async {
    if isElapsed { return }
    await suspended { core.after(.task($0), number: number) }
  }

  /// Blocks until it has elapsed. Traps as `SleepableDomain.synchronize()`.
  @available(*, noasync, message: "await elapsed() instead of blocking the task's thread")
  public func wait() {
    if isElapsed { return }
    core.checkNotInside("synchronize()")
    let parker = Parker()
    core.after(.thread(parker), number: number)
    parker.wait()
  }

  /// Whether they are the same grace period of the same domain.
  public static func == (left: SleepableGracePeriod, right: SleepableGracePeriod) -> Bool {
    left.core === right.core && left.number == right.number
  }

  /// Hashes domain and number.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(ObjectIdentifier(core))
    hasher.combine(number)
  }
}
