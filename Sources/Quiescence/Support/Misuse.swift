/// The traps: one line each, which names the rule. Out of line, so that a check costs its caller a
/// compare and a branch.
@usableFromInline
package enum Misuse {
  @inline(never) @usableFromInline
  package static func qsbrReadOffline() -> Never {
    fatalError("QSBR read on a thread that is not online: read inside QSBR.withOnlineReader")
  }

  @inline(never) @usableFromInline
  package static func qsbrOnlineTwice() -> Never {
    fatalError("QSBR.withOnlineReader on a thread that is online already: use the outer reader")
  }

  @inline(never) @usableFromInline
  static func qsbrScope(_ what: String) -> Never {
    fatalError(
      "QSBR.\(what) inside QSBR.read or QSBR.withOnlineReader: what the thread borrowed there would be freed")
  }

  @inline(never) @usableFromInline
  package static func quiescentStateInSection() -> Never {
    fatalError("quiescent state inside QSBR.read: what the section borrowed would be freed")
  }

  @inline(never) @usableFromInline
  package static func waitInSection(_ what: String, _ flavor: String) -> Never {
    fatalError(
      "\(flavor).\(what) inside a \(flavor) read-side critical section: it would wait for itself")
  }

  @inline(never) @usableFromInline
  package static func waitInCallback(_ what: String, _ flavor: String) -> Never {
    fatalError("\(flavor).\(what) inside a retired callback: it would wait for itself")
  }

  @inline(never)
  static func fullInSection(_ reclaimer: String, _ source: String) -> Never {
    fatalError(
      "\(reclaimer) is full, and a thread retires inside a \(source) read-side critical section: it would wait for "
        + "itself; retire after the section, use tryRetire, or set a higher limit")
  }

  @inline(never)
  static func fullInUpdate(_ reclaimer: String) -> Never {
    fatalError(
      "\(reclaimer) is full, and a thread retires inside the closure of a box's update or replace: a reader may wait "
        + "for that box; retire after the update, use tryRetire, or set a higher limit")
  }

  @inline(never)
  static func waitInDomain(_ what: String, _ name: String) -> Never {
    fatalError(
      "SleepableDomain.\(what) inside a section of the same domain, \"\(name)\": it would wait for itself")
  }

  @inline(never) @usableFromInline
  static func otherDomain() -> Never {
    fatalError("SleepableBox.load with a section of another SleepableDomain, which does not protect it")
  }

  @inline(never)
  static func domainDestroyed() -> Never {
    fatalError("a SleepableDomain was used after it was destroyed")
  }

  @inline(never)
  static func domainLostByFork(_ name: String) -> Never {
    fatalError(
      "a grace period of the SleepableDomain \"\(name)\" in a child that was forked while sections of it were open: "
        + "it would never end, because no thread of the child leaves them")
  }

  @inline(never)
  static func gracePeriodLostByFork() -> Never {
    fatalError(
      "a grace period in a child that was forked inside a read-side critical section, while a grace period waited for it"
    )
  }

  @inline(never) @usableFromInline
  package static func writeInsideWrite() -> Never {
    fatalError(
      "a write to a box inside the closure of its own update or replace would wait for itself: "
        + "write after it, or use updateRetrying")
  }

  @inline(never)
  static func otherReclaimer(_ name: String, _ flavor: String) -> Never {
    fatalError(
      "RCUBox of \(flavor) with the reclaimer \"\(name)\" of another flavor, which does not wait for its readers"
    )
  }

  @inline(never) @usableFromInline
  package static func projectionNotLentOnce() -> Never {
    fatalError("RCUBox.map(lending:): the function must call its second argument exactly once")
  }
}
