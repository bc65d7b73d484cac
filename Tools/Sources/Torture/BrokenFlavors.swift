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

/// A flavor of whose grace periods one never ends: the readers have left, and the wakeup by the
/// last of them was lost.
enum LostWakeup<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() { Base.unsafeEnter() }
  static func unsafeLeave() { Base.unsafeLeave() }
  static var isInside: Bool { Base.isInside }

  static func unsafeSynchronize() {
    Base.unsafeSynchronize()
    if GracePeriodsUntilLoss.left.subtract(1, ordering: .relaxed).oldValue == 0 {
      // No thread signals this semaphore.
      DispatchSemaphore(value: 0).wait()
    }
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
