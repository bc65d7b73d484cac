internal import _QuiescenceShims

/// The grace periods of one flavor, and the reclaimer that its `retire` uses: one object a process.
///
/// Each flavor of the library has one. A flavor that you make has one in a static constant:
///
/// ```swift
/// enum Counted: Flavor {
///   static func unsafeEnter() { Memb.unsafeEnter() }
///   static func unsafeLeave(_ token: Void) { Memb.unsafeLeave() }
///   static var isInside: Bool { Memb.isInside }
///   static func unsafeSynchronize() { Memb.unsafeSynchronize() }
///   static let domain = FlavorDomain(of: Counted.self, named: "counted")
/// }
/// ```
public final class FlavorDomain: GracePeriodSource {
  /// As in messages: "Memb".
  let name: String
  /// The flavor's number in the shims; negative for one that is not this library's.
  let number: Int
  let sequence: GracePeriodSequence
  let thread: GracePeriodThread
  let stalls = StallCounter()
  private let isInsideFlavor: @Sendable () -> Bool
  // Written by the initializer alone.
  private nonisolated(unsafe) var ownReclaimer: RCUReclaimer?

  /// Makes the domain of a flavor, which lives as long as the process.
  ///
  /// - Parameters:
  ///   - flavor: makes the grace periods.
  ///   - name: of the threads: `rcu-` and `gp-` before it. The kernel shows 15 bytes.
  public convenience init<F: Flavor>(of flavor: F.Type, named name: String) {
    self.init(flavor, named: name, number: -1)
  }

  /// - Parameter number: that of a flavor of the library, whose reclaimer has a place of its own in
  ///   each thread's table. Once for each.
  init<F: Flavor>(_ flavor: F.Type, named threads: String, number: Int) {
    // MB and QSBR do without: see `qs_fence.h`.
    if F.self != MB.self && F.self != QSBR.self { qs_fence_use_membarrier() }
    name = "\(F.self)"
    self.number = number
    let sequence = GracePeriodSequence { F.unsafeSynchronize() }
    self.sequence = sequence
    thread = GracePeriodThread(named: "gp-\(threads)") { sequence.wait() }
    isInsideFlavor = { F.isInside }
    ForkWatch.add(self)
    ownReclaimer = RCUReclaimer(
      ReclaimerCore(
        named: "rcu-\(threads)", self, place: number < 0 ? nil : UInt32(number),
        runner: ReclaimerRunner(named: "rcu-\(threads)", waitingFor: self),
        limit: RetireLimit(1 << 20, .wait), isLimitSoft: true))
  }

  /// Runs what is retired under the flavor.
  public var reclaimer: RCUReclaimer {
    // Set by the initializer.
    ownReclaimer.unsafelyUnwrapped
  }

  /// Threads that are registered as readers through this library; none of a flavor that is not its
  /// own.
  var readers: Int { number < 0 ? 0 : Int(qs_readers_registered(UInt32(number))) }

  // MARK: - Grace periods

  var title: String { name }

  /// Whether the calling thread is inside a section.
  var isInside: Bool { isInsideFlavor() }

  var isLost: Bool { sequence.isLost }

  func checkNotInside(_ what: String) {
    if isInside { Misuse.waitInSection(what, name) }
  }

  func wait() { sequence.wait() }

  func waitSuspended() async {
    await suspended { waiter in
      // Without a thread this one waits for the grace period.
      if !thread.after(.task(waiter)) { thread.serve() }
    }
  }

  func after(_ waiter: Waiter) {
    // As above; inside a section the request stays for the next thread that comes.
    if !thread.after(waiter) && !isInside { thread.serve() }
  }
}

extension Flavor {
  /// Runs what is retired under this flavor: that of its ``domain``.
  public static var reclaimer: RCUReclaimer { domain.reclaimer }
}
