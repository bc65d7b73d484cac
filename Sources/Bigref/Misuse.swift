internal import Quiescence

/// The traps: one line each, which names the rule. Out of line, so that a check costs its caller a compare and a branch.
extension Misuse {
  @inline(never)
  static func releasedBelowZero() -> Never {
    fatalError("Bigref.release without a reference: the count fell below zero")
  }

  @inline(never)
  static func releasedUnderLabel(_ label: String) -> Never {
    fatalError("Bigref.release by \"\(label)\", which holds no reference")
  }

  @inline(never)
  static func acquiredAfterZero() -> Never {
    fatalError("Bigref.acquire after the count reached zero: what it counts may be gone")
  }

  @inline(never)
  static func killedTwice() -> Never {
    fatalError("Bigref.kill on a counter that was killed before")
  }

  @inline(never)
  static func confirmedLive() -> Never {
    fatalError("Bigref: a kill was confirmed that was not begun, or twice")
  }

  @inline(never)
  static func resurrectedLive() -> Never {
    fatalError("Bigref.resurrect on a counter that is live, or whose kill is under way")
  }

  @inline(never)
  static func destroyedWhileKilled() -> Never {
    fatalError("a Bigref was destroyed while its kill was under way: destroy it after the confirmation")
  }

  @inline(never)
  static func usedAfterDestroyed() -> Never {
    fatalError("a Bigref was used after it was destroyed")
  }
}
