import Quiescence
import Testing

@testable import Torture

/// The checks of the torture, each with the fault that it must notice.
@Suite struct CheckTests {
  private let failures = FailureLog()

  private func ledger(_ presence: Presence = Presence(count: 1), dropsSome: Bool = false) -> CallbackLedger {
    CallbackLedger(presence: presence, failures: failures, dropsSome: dropsSome)
  }

  @Test func callbackThatRunsTwiceIsNoticed() async {
    let entry = CallbackEntry(ledger: ledger())
    Memb.post(entry, as: .closure, choosing: 0)
    await Memb.barrier()
    #expect(!failures.hasAny)
    entry.run()
    #expect(failures[.duplicateCallbacks] == 1)
    #expect(failures.first == "duplicate_callbacks: it had run before, and was not retired since")
  }

  @Test func callbackInsideAnOlderSectionIsNoticed() async {
    let presence = Presence(count: 1)
    let entry = CallbackEntry(ledger: ledger(presence))
    // Reports that it is inside without being in a section, so no grace period waits for it.
    presence.entered(0)
    Memb.post(entry, as: .function, choosing: 0)
    await Memb.barrier()
    #expect(failures[.earlyCallbacks] == 1)
  }

  @Test func callbackBeforeItsPolledGracePeriodIsNoticed() async {
    let entry = ChainedEntry<Memb>(ledger: ledger())
    let late: Int = Memb.read { _ in
      entry.post(as: .object, choosing: 0, polls: true)
      // Called here instead of by the reclaimer, which waits for this section.
      entry.run()
      return failures[.earlyCallbacks]
    }
    #expect(late == 1)
    await Memb.barrier()
  }

  @Test func droppedCallbackIsNoticed() async {
    let ledger = ledger(dropsSome: true)
    let entries = (0..<1000).map { _ in CallbackEntry(ledger: ledger) }
    for entry in entries { Memb.post(entry, as: .object, choosing: 0) }
    await Memb.barrier()
    #expect(ledger.counts.retired == 1000)
    #expect(ledger.counts.ran == 999)
    #expect(entries.count { $0.isBusy } == 1)
  }

  @Test func chainIsBusyUntilItsEnd() async {
    let ledger = ledger()
    let entry = ChainedEntry<Memb>(ledger: ledger)
    // Inside a section, which its callback waits for.
    Memb.read { _ in
      entry.post(as: .closure, choosing: 0, links: 5)
      #expect(entry.isBusy)
    }
    await Memb.barrier()
    #expect(!entry.isBusy)
    #expect(ledger.counts.ran == 6)
  }

  @Test func readerIsAWitnessUntilItsSectionEnds() {
    let presence = Presence(count: 2)
    #expect(presence.witnesses().isEmpty)
    presence.entered(1)
    let witnesses = presence.witnesses()
    #expect(witnesses.map(\.index) == [1])
    #expect(presence.remaining(of: witnesses) != nil)
    presence.leaves(1)
    #expect(presence.remaining(of: witnesses) == nil)
    // A later section of the same reader is not the one that was seen.
    presence.entered(1)
    #expect(presence.remaining(of: witnesses) == nil)
  }

  @Test func elementShowsItsHistory() throws {
    let pool = ElementPool()
    #expect(pool.missing == 0)
    let element = try #require(pool.take())
    element.pointer.pointee.fill(7)
    #expect(pool.publish(element) == nil)
    #expect(element.pointer.pointee.contents() == 7)
    #expect(pool.missing == 0)
    let second = try #require(pool.take())
    #expect(pool.missing == 1)
    second.pointer.pointee.fill(8)
    let old = try #require(pool.publish(second))
    #expect(old.age == 1)
    #expect(pool.missing == 1, "the removed one is on its way")
    for age in 2..<10 {
      let isLast = old.ageByOne()
      #expect(!isLast, "at \(age)")
    }
    let isLast = old.ageByOne()
    #expect(isLast)
    old.pointer.pointee.free()
    #expect(old.pointer.pointee.contents() == nil)
    #expect(pool.missing == 0)
  }

  @Test func poolRunsOutOfElements() {
    let pool = ElementPool()
    for _ in 0..<ElementPool.size {
      let element = pool.take()
      #expect(element != nil)
    }
    let none = pool.take()
    #expect(none == nil)
    #expect(pool.missing == ElementPool.size)
  }
}
