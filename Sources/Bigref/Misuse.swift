internal import Quiescence

/// The traps of Bigref. Each prints one line that names the rule. They are functions of their own,
/// so that a check adds only a compare and a branch to its caller.
extension Misuse {
  @inline(never)
  static func releasedBelowZero() -> Never {
    fatalError("Bigref.release() without a reference: the count fell below zero")
  }

  @inline(never)
  static func releasedUnderLabel(_ label: String) -> Never {
    fatalError("Bigref.release(for:): the label \"\(label)\" holds no reference")
  }

  @inline(never)
  static func acquiredAfterZero() -> Never {
    fatalError("Bigref.acquire() after the count reached zero: use tryAcquire()")
  }

  @inline(never)
  static func killedTwice() -> Never {
    fatalError("Bigref.kill() on a counter that was killed before")
  }

  @inline(never)
  static func confirmedLive() -> Never {
    fatalError("Bigref: a kill was confirmed that was not begun, or was confirmed before")
  }

  @inline(never)
  static func resurrectedLive() -> Never {
    fatalError("Bigref.resurrect() on a counter that is live, or whose kill is not confirmed")
  }

  @inline(never)
  static func destroyedWhileKilled() -> Never {
    fatalError("a Bigref was destroyed during its kill: destroy it after the kill is confirmed")
  }

  @inline(never)
  static func usedAfterDestroyed() -> Never {
    fatalError("a Bigref was used after it was destroyed")
  }

  @inline(never)
  static func destroyedUnconfirmedBatch() -> Never {
    fatalError("a KillBatch was destroyed before confirm(): its counters would never reach zero")
  }

  @inline(never)
  static func waitInSection(_ call: String) -> Never {
    fatalError("\(call) inside a Memb read-side critical section: it could wait for itself")
  }
}
