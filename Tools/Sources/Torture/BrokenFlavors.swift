import CTorture
import Foundation
import Quiescence
import Synchronization

/// A flavor whose grace periods end at once, while readers are inside.
enum NoGracePeriod<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() -> Base.Token { Base.unsafeEnter() }
  static func unsafeLeave(_ token: Base.Token) { Base.unsafeLeave(token) }
  static var isInside: Bool { Base.isInside }
  static func unsafeSynchronize() {}
  static var domain: FlavorDomain { Base.noGracePeriodDomain }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var noGracePeriodDomain: FlavorDomain { Base.noGracePeriodDomain }
  static var lostWakeupDomain: FlavorDomain { Base.lostWakeupDomain }
}

/// A flavor whose readers skip the wakeups that a sleeping grace period needs: it sleeps forever
/// after they have left.
///
/// Readers do not wake grace periods of `Bulletproof`; one of these never ends.
enum LostWakeup<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() -> Base.Token { Base.unsafeEnter() }
  static func unsafeLeave(_ token: Base.Token) { Base.unsafeLeave(token) }
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

  static var domain: FlavorDomain { Base.lostWakeupDomain }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var noGracePeriodDomain: FlavorDomain { Base.noGracePeriodDomain }
  static var lostWakeupDomain: FlavorDomain { Base.lostWakeupDomain }
}

/// The number of correct grace periods before the lost one, so that the run does some work first.
private enum GracePeriodsUntilLoss {
  static let left = Atomic<Int>(50)
}
