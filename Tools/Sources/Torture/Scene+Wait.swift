import CTorture
import Quiescence

extension Scene {
  /// Waits for a grace period in one of the blocking ways, and checks that it has ended.
  func wait(for way: Way, as waiter: Int, box: StampBox<F>, random: inout Random) {
    switch way {
    case .synchronize, .retireClosure, .retireObject, .retireFunction, .pollMany:
      watch(waiter, .synchronize) { F.synchronize() }
    case .asyncSynchronize: watch(waiter, way) { blockOn { await F.synchronize() } }
    case .poll: poll(waiter, &random)
    case .pollWait:
      let gracePeriod = F.startGracePeriod()
      watchPolled(waiter, way, gracePeriod) { gracePeriod.wait() }
    case .asyncPoll:
      let gracePeriod = F.startGracePeriod()
      watchPolled(waiter, way, gracePeriod) { blockOn { await gracePeriod.elapsed() } }
    case .retireAndWait:
      let entry = SignalingEntry(ledger: ledger)
      let kind = RetireKind.allCases[random.below(3)]
      let choice = random.next()
      watch(waiter, way) {
        F.post(entry, as: kind, choosing: choice)
        entry.wait()
      }
    case .barrier: watch(waiter, way) { F.barrier() }
    case .asyncBarrier: watch(waiter, way) { blockOn { await F.barrier() } }
    case .take: take(waiter, box, &random)
    case .asyncTake: asyncTake(waiter, box, &random)
    }
  }

  /// The grace period may have elapsed before the wait began, so the wait need not include a whole
  /// one. But at its end the grace period has elapsed.
  private func watchPolled(_ waiter: Int, _ way: Way, _ gracePeriod: GracePeriod<F>, _ wait: () -> Void) {
    watch(waiter, way, includesGracePeriod: false, wait)
    if !gracePeriod.isElapsed {
      failures.record(.pollErrors, "\(way.words) returned, and the grace period had not elapsed")
    }
  }

  /// Checks that a polled grace period has not elapsed while a reader is still in a section that
  /// was open before, that it has elapsed after a blocking wait, and that it stays elapsed.
  private func poll(_ waiter: Int, _ random: inout Random) {
    let witnesses = presence.witnesses()
    let gracePeriod = F.startGracePeriod()
    waits.begin(waiter, .poll)
    let patience = random.below(1000)
    var looks = 0
    while !gracePeriod.isElapsed {
      looks += 1
      if looks > patience {
        sleep(microseconds: 20)
      } else {
        torture_spin(64)
      }
    }
    if let witness = presence.remaining(of: witnesses) {
      failures.record(
        .pollErrors,
        "a grace period had elapsed while reader \(witness.index) was in a section that was open before it started"
      )
    }
    waits.end(waiter, .poll)
    if random.oneIn(4) {
      let second = F.startGracePeriod()
      watch(waiter, .synchronize) { F.synchronize() }
      if !second.isElapsed {
        failures.record(
          .pollErrors, "synchronize() returned, and the grace period started before it had not elapsed")
      }
    }
    if !gracePeriod.isElapsed {
      failures.record(.pollErrors, "a grace period that had elapsed had not elapsed later")
    }
  }

  private func take(_ waiter: Int, _ box: StampBox<F>, _ random: inout Random) {
    let (old, new) = box.turn(random.next())
    watch(waiter, .take) { checkTaken(box.box.exchange(new).take(), old) }
  }

  private func asyncTake(_ waiter: Int, _ box: StampBox<F>, _ random: inout Random) {
    let (old, new) = box.turn(random.next())
    watch(waiter, .asyncTake) { [self] in
      blockOn { [self] in checkTaken(await box.box.exchange(new).take(), old) }
    }
  }

  /// Not a race: only one thread writes to each box.
  private func checkTaken(_ taken: StampBox<F>.Stamp, _ number: UInt64) {
    if !taken.isWhole || taken.number != number {
      failures.record(.publicationErrors, "a box returned another value than it contained")
    }
  }
}
