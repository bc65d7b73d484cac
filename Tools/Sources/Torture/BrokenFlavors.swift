import Foundation
import Quiescence
import Synchronization

/// Grace periods that end at once, whoever is inside.
enum NoGracePeriod<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() { Base.unsafeEnter() }
  static func unsafeLeave() { Base.unsafeLeave() }
  static var isInside: Bool { Base.isInside }
  static func unsafeSynchronize() {}
  static var reclaimer: RCUReclaimer { Base.hastyReclaimer }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var hastyReclaimer: RCUReclaimer { Base.hastyReclaimer }
  static var sleepyReclaimer: RCUReclaimer { Base.sleepyReclaimer }
}

/// Grace periods of which one sleeps for ever: the readers have left, and the wake of the last one was lost.
enum LostWakeup<Base: TortureFlavor>: TortureFlavor {
  static func unsafeEnter() { Base.unsafeEnter() }
  static func unsafeLeave() { Base.unsafeLeave() }
  static var isInside: Bool { Base.isInside }

  static func unsafeSynchronize() {
    Base.unsafeSynchronize()
    if GracePeriodsUntilLoss.left.subtract(1, ordering: .relaxed).oldValue == 0 {
      // Nobody signals it.
      DispatchSemaphore(value: 0).wait()
    }
  }

  static var reclaimer: RCUReclaimer { Base.sleepyReclaimer }

  static func round(of reader: some RoundReader) { Base.round(of: reader) }
  static var hastyReclaimer: RCUReclaimer { Base.hastyReclaimer }
  static var sleepyReclaimer: RCUReclaimer { Base.sleepyReclaimer }
}

/// So that there is something to see before.
private enum GracePeriodsUntilLoss {
  static let left = Atomic<Int>(50)
}
