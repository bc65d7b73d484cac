import CTorture
import Quiescence

extension Scene {
  /// Waits for a grace period in one of the ways that block the caller until it has ended, and checks that it did.
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
      let entry = SignallingEntry(ledger: ledger)
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

  /// It may have elapsed before the wait began, so the wait need not include a grace period of its own; but at the end
  /// it has elapsed.
  private func watchPolled(_ waiter: Int, _ way: Way, _ gracePeriod: GracePeriod<F>, _ wait: () -> Void) {
    watch(waiter, way, includesGracePeriod: false, wait)
    if !gracePeriod.isElapsed {
      failures.record(.pollErrors, "\(way.words) returned, and the grace period had not elapsed")
    }
  }

  /// Not elapsed while somebody is still inside who was inside before; elapsed after a blocking wait; and for good.
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
      failures.record(.pollErrors, "a grace period that had elapsed was open again")
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

  /// Only one thread writes to each box.
  private func checkTaken(_ taken: StampBox<F>.Stamp, _ number: UInt64) {
    if !taken.isWhole || taken.number != number {
      failures.record(.publicationErrors, "a box gave back another value than was in it")
    }
  }
}
