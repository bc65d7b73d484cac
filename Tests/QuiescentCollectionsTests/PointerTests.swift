import Quiescence
import QuiescentCollections
import TestSupport
import Testing

@Suite struct PointerTests {
  /// What a list of one's own is made of.
  struct Node<F: Flavor>: ~Copyable, Sendable {
    let number: Int
    let tracked: Tracked
    let next = RCUPointer<Node<F>, F>()
  }

  @Test(arguments: FlavorCase.all) func nodeIsPublishedReplacedAndUnlinked(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      await onThreads { _ in
        F.readAnywhere {
          let pointer = RCUPointer<Tracked, F>()
          F.read { section in
            check(pointer.isEmpty)
            check(pointer.load(section)?.value.value == nil)
          }
          pointer.publish(Tracked(1, alive: alive))
          F.read { section in check(pointer.load(section)?.value.value == 1) }
          let back = pointer.fill(Tracked(2, alive: alive))
          check(back?.value == 2)
          check(pointer.exchange(Tracked(3, alive: alive))?.read { $0.value } == 1)
          F.read { section in
            guard let seen = pointer.load(section) else { return }
            check(pointer.compareExchange(seen, with: Tracked(4, alive: alive)).isExchanged)
            // `seen` is still here, and no longer what the pointer has.
            check(seen.value.value == 3)
            switch pointer.compareExchange(seen, with: Tracked(5, alive: alive)) {
            case .exchanged: Issue.record("replaced a node that was not there")
            case .refused(let new): check(new.value == 5)
            }
            let hasUnlinked = pointer.unlink(seen) != nil
            check(!hasUnlinked)
          }
          let hasUnlinked = pointer.unlink() != nil
          check(hasUnlinked && pointer.isEmpty)
          let again = pointer.unlink() != nil
          check(!again)
          let refused = pointer.fill(Tracked(6, alive: alive)) != nil
          check(!refused)
        }
      }
      await F.barrier()
      check(alive.value == 0)
    }
    await run(flavor.type)
  }

  @Test func nodeStaysWhileItsSectionIsOpen() async {
    let alive = Counter()
    let pointer = Shared(RCUPointer(Tracked(1, alive: alive), flavor: Memb.self))
    let loaded = Parker()
    let unlinked = Parker()
    await onThreads(2) { index in
      if index == 0 {
        Memb.read { section in
          let seen = pointer.value.load(section)
          loaded.open()
          unlinked.wait()
          check(seen?.value.value == 1 && alive.value == 1)
        }
      } else {
        loaded.wait()
        let node = pointer.value.unlink()
        check(node != nil)
        unlinked.open()
      }
    }
    await Memb.barrier()
    check(alive.value == 0)
  }

  /// Two threads hold one node as witness: one gets the right to retire it.
  @Test(.exclusive) func nodeIsUnlinkedOnce() async {
    let rounds = 2000
    let alive = Counter()
    let wins = Counter()
    let pointer = Shared(RCUPointer<Tracked, Memb>())
    let turns = (Counter(), Counter())
    await onThreads(2) { index in
      for round in 0..<rounds {
        if index == 0 { pointer.value.publish(Tracked(round, alive: alive)) }
        turns.0.add(1)
        while turns.0.value < 2 * (round + 1) {}
        Memb.read { section in
          if let seen = pointer.value.load(section), pointer.value.unlink(seen) != nil { wins.add(1) }
        }
        turns.1.add(1)
        while turns.1.value < 2 * (round + 1) {}
      }
    }
    await Memb.barrier()
    check(wins.value == rounds)
    check(alive.value == 0)
  }

  /// Of 1, 2, 3 the middle one goes while a reader is at it, and what is published behind it then
  /// is refused.
  @Test func nodeIsJoinedOut() async {
    let alive = Counter()
    let list = Shared(RCUPointer(Node<Memb>(number: 1, tracked: Tracked(1, alive: alive)), flavor: Memb.self))
    await onThread {
      func takeOut(_ head: borrowing RCUPointer<Node<Memb>, Memb>) {
        Memb.read { section in
          let isSecondRefused =
            head.load(section)?.value.next.fill(Node(number: 2, tracked: Tracked(2, alive: alive))) != nil
          let isThirdRefused =
            head.load(section)?.value.next.load(section)?.value.next.fill(
              Node(number: 3, tracked: Tracked(3, alive: alive))) != nil
          check(!isSecondRefused && !isThirdRefused)
          guard let first = head.load(section), let second = first.value.next.load(section) else {
            Issue.record("no second node")
            return
          }
          let isOut = first.value.next.unlink(second, joining: second.value.next) != nil
          check(isOut)
          check(first.value.next.load(section)?.value.number == 3)
          // A reader that is at the second node goes on.
          check(second.value.next.load(section)?.value.number == 3)
          let again = first.value.next.unlink(second, joining: second.value.next) != nil
          check(!again)
          if let third = second.value.next.load(section) {
            let isPublished = second.value.next.compareExchange(
              third, with: Node(number: 4, tracked: Tracked(4, alive: alive))
            ).isExchanged
            check(!isPublished)
            let isUnlinked = second.value.next.unlink(third) != nil
            check(!isUnlinked)
          }
        }
      }
      takeOut(list.value)
    }
    await Memb.barrier()
    check(alive.value == 2)
    list.value.unlink()
    await Memb.barrier()
    check(alive.value == 0)
  }

  /// One thread takes nodes out at the head, another one adds some behind the first: none is lost.
  @Test(.exclusive) func nothingIsPublishedBehindANodeThatIsJoinedOut() async {
    let wanted = 20_000
    let alive = Counter()
    let head = Shared(RCUPointer<Node<Memb>, Memb>())
    let added = Counter()
    let taken = Counter()
    let done = Counter()
    await onThreads(2) { index in
      Affinity.keep(index)
      if index == 0 {
        var round = 0
        while added.value < wanted {
          round += 1
          // At the head, or behind the first node: with that one's successor behind it, as a list
          // would.
          let isAdded = Memb.read { section in
            guard let first = head.value.load(section) else {
              return head.value.fill(Node(number: round, tracked: Tracked(round, alive: alive))) == nil
            }
            return first.value.next.fill(Node(number: round, tracked: Tracked(round, alive: alive))) == nil
          }
          if isAdded { added.add(1) } else { letOthersRun() }
        }
        done.add(1)
      } else {
        while true {
          let isLast = done.value == 1
          let isTaken = Memb.read { section in
            guard let first = head.value.load(section) else { return false }
            return head.value.unlink(first, joining: first.value.next) != nil
          }
          if isTaken { taken.add(1) } else if isLast { break } else { letOthersRun() }
        }
      }
    }
    await Memb.barrier()
    check(added.value == taken.value)
    check(alive.value == 0)
  }

  @Test func publicationThroughAnUnlinkedNodeTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let alive = Counter()
      let head = RCUPointer(Node<Memb>(number: 1, tracked: Tracked(1, alive: alive)), flavor: Memb.self)
      Memb.read { section in
        guard let first = head.load(section) else { return }
        head.unlink(first, joining: first.value.next)
        first.value.next.publish(Node(number: 2, tracked: Tracked(2, alive: alive)))
      }
    }
    check(
      text(result).contains(
        "RCUPointer: a value published through a pointer of a node that was unlinked would be lost"))
  }

  @Test func onlineReaderLoads() async {
    await onThread {
      let pointer = RCUPointer(7, flavor: QSBR.self)
      QSBR.withOnlineReader { reader in
        check(pointer.load(reader)?.value == 7)
        reader.quiescentState()
      }
    }
  }
}

@Suite struct RepinTests {
  /// A scan that lasts lets grace periods pass.
  @Test func gracePeriodPassesWhenASectionIsRepinned() async {
    func run<F: Flavor>(_: F.Type) async where F.Token == Void {
      let isInside = Parker()
      let isOver = Counter()
      await onThreads(2) { index in
        if index == 0 {
          F.read { section in
            isInside.open()
            // Ends when the grace period does: only the repinning lets it.
            while isOver.value == 0 { section.repin() }
          }
        } else {
          isInside.wait()
          F.synchronize()
          isOver.add(1)
        }
      }
      check(isOver.value == 1)
    }
    await run(Memb.self)
    await run(MB.self)
    await run(Bulletproof.self)
  }

  @Test func gracePeriodWaitsForTheOuterSection() async {
    let cookie = await onThread {
      Memb.read { _ in
        let cookie = Memb.startGracePeriod()
        Memb.read { section in for _ in 0..<1000 { section.repin() } }
        check(!cookie.isElapsed)
        return cookie
      }
    }
    await cookie.elapsed()
  }

  @Test func sleepableSectionIsRepinned() async {
    let domain = SleepableDomain("repin")
    let box = SleepableBox(1, in: domain)
    await domain.read { section in
      let cookie = domain.startGracePeriod()
      while !cookie.isElapsed {
        section.repin()
        await Task.yield()
      }
      check(box.load(section).value == 1)
    }
    await domain.synchronize()
  }
}

@Suite struct SleepablePointerTests {
  struct Node: ~Copyable, Sendable {
    let number: Int
    let tracked: Tracked
    let next: SleepablePointer<Node>
  }

  @Test func nodeStaysAcrossASuspension() async {
    let alive = Counter()
    let domain = SleepableDomain("pointer")
    let pointer = SleepablePointer(Tracked(1, alive: alive), in: domain)
    await domain.read { section in
      let seen = pointer.load(section)
      pointer.publish(Tracked(2, alive: alive))
      await Task.yield()
      check(seen?.value.value == 1 && alive.value == 2)
      check(pointer.load(section)?.value.value == 2)
      if let seen {
        let refused = pointer.compareExchange(seen, with: Tracked(3, alive: alive))
        check(refused?.value == 3)
        check(!pointer.unlink(seen))
      }
      if let seen = pointer.load(section) {
        check(pointer.compareExchange(seen, with: Tracked(4, alive: alive)) == nil)
      }
    }
    let back = pointer.fill(Tracked(5, alive: alive))
    check(back?.value == 5)
    check(await pointer.take()?.value == 4)
    check(await pointer.take() == nil)
    await domain.barrier()
    withExtendedLifetime(back) { check(alive.value == 1) }
  }

  @Test func nodeIsJoinedOut() async {
    let alive = Counter()
    let domain = SleepableDomain("pointer")
    let head = SleepablePointer(
      Node(number: 1, tracked: Tracked(1, alive: alive), next: SleepablePointer(in: domain)), in: domain)
    await onThread { [alive] in _ = alive }
    domain.read { section in
      guard let first = head.load(section) else { return }
      let rest = first.value.next.fill(
        Node(number: 2, tracked: Tracked(2, alive: alive), next: SleepablePointer(in: domain)))
      let isRefused = rest != nil
      check(!isRefused)
      check(head.unlink(first, joining: first.value.next))
      check(!head.unlink(first, joining: first.value.next))
      check(head.load(section)?.value.number == 2)
    }
    await domain.barrier()
    check(alive.value == 1)
  }

  @Test func sectionOfAnotherDomainTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let pointer = SleepablePointer(1, in: SleepableDomain("one"))
      SleepableDomain("other").read { section in print(pointer.load(section) == nil) }
    }
    check(
      text(result).contains(
        "SleepablePointer: a section of another SleepableDomain, which does not protect the pointer"))
  }
}
