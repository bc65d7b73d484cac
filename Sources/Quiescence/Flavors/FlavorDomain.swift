internal import _QuiescenceShims

/// What the grace periods of one flavor need, once a process.
final class FlavorDomain: Sendable {
  /// As in messages: "Memb".
  let name: String
  /// The flavor's number in the shims; negative for one that is not this library's.
  let number: Int
  let sequence: GracePeriodSequence
  let thread: GracePeriodThread
  /// Whether the calling thread is inside a section.
  let isInside: @Sendable () -> Bool
  let stalls = StallCounter()

  init<F: Flavor>(_ flavor: F.Type, threadName: String) {
    // MB and QSBR do without: see `qs_fence.h`.
    if F.self != MB.self && F.self != QSBR.self { qs_fence_use_membarrier() }
    name = "\(F.self)"
    number = F.number
    sequence = GracePeriodSequence { F.unsafeSynchronize() }
    thread = GracePeriodThread(named: threadName, sequence)
    isInside = { F.isInside }
    ForkWatch.add(self)
  }

  /// Threads that are registered as readers through this library; none of a flavor that is not its own.
  var readers: Int { number < 0 ? 0 : Int(qs_readers_registered(UInt32(number))) }
}

extension Flavor {
  /// The flavor's number in the shims; negative for those that are not this library's.
  static var number: Int {
    if self == Memb.self { return Int(QS_MEMB.rawValue) }
    if self == QSBR.self { return Int(QS_QSBR.rawValue) }
    if self == MB.self { return Int(QS_MB.rawValue) }
    return self == Bulletproof.self ? Int(QS_BP.rawValue) : -1
  }

  static var domain: FlavorDomain { reclaimer.core.domain }
}
