import CTorture
import Foundation
import Quiescence
import Synchronization

/// A flavor whose grace periods end at once, while readers are inside.
enum NoGracePeriod<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() { Base.unsafeEnter() }
  static func unsafeLeave() { Base.unsafeLeave() }
  static var isInside: Bool { Base.isInside }
  static func unsafeSynchronize() {}
  static var reclaimer: RCUReclaimer { Base.noGracePeriodReclaimer }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var noGracePeriodReclaimer: RCUReclaimer { Base.noGracePeriodReclaimer }
  static var lostWakeupReclaimer: RCUReclaimer { Base.lostWakeupReclaimer }
}

/// A flavor whose readers skip the wakeups that a sleeping grace period needs: it sleeps forever
/// after they have left.
///
/// Readers do not wake grace periods of `Bulletproof`; one of these never ends.
enum LostWakeup<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() { Base.unsafeEnter() }
  static func unsafeLeave() { Base.unsafeLeave() }
  static var isInside: Bool { Base.isInside }

  static func unsafeSynchronize() {
    if GracePeriodsUntilLoss.left.subtract(1, ordering: .relaxed).oldValue == 0 {
      if Base.self == Bulletproof.self {
        // No thread signals this semaphore.
        DispatchSemaphore(value: 0).wait()
      }
      torture_lose_wakeups()
    }
    Base.unsafeSynchronize()
  }

  static var reclaimer: RCUReclaimer { Base.lostWakeupReclaimer }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var noGracePeriodReclaimer: RCUReclaimer { Base.noGracePeriodReclaimer }
  static var lostWakeupReclaimer: RCUReclaimer { Base.lostWakeupReclaimer }
}

/// The number of correct grace periods before the lost one, so that the run does some work first.
private enum GracePeriodsUntilLoss {
  static let left = Atomic<Int>(50)
}
