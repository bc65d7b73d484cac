import ProcessEdges
import Quiescence
import Synchronization
import TestSupport
import Testing

/// Threads on which restartable sequences do not count: they are not registered for them, or run on
/// a processor with a number that has no slot.
@Suite(.exclusive) struct ProcessorNumberTests {
  /// Numbers that the kernel gives, and that it could give.
  private static let numbers: [UInt32] = [.max, .max - 1, 65_535, 4_096, 1 << 30]

  @Test func domainIsReadWhateverTheProcessorsNumber() async {
    await onThread {
      let domain = SleepableDomain()
      for number in Self.numbers {
        if !leave_restartable_sequences(number) && number == Self.numbers[0] { return }
        domain.read { _ in domain.read { _ in } }
        #expect(domain.openSections == 0)
        domain.synchronize()
        domain.read { _ in #expect(domain.openSections == 1) }
      }
    }
  }

  /// Such threads and others read one box while others replace its value.
  @Test func noSectionIsMissedWhateverTheProcessorsNumber() async {
    let domain = Shared(SleepableDomain())
    let alive = Counter()
    let box = Shared(SleepableBox(Tracked(0, alive: alive), in: domain.value))
    let reads = Counter(), done = Counter(), wrong = Counter()
    await onThreads(6) { index in
      if index < 2 {
        for round in 1...200 {
          box.value.update { $0 = Tracked(round, alive: alive) }
          if index == 0 { domain.value.synchronize() }
        }
        done.add(1)
        return
      }
      if index < 5 { _ = leave_restartable_sequences(Self.numbers[index]) }
      while done.value < 2 {
        domain.value.read { section in
          let value = box.value.load(section)
          let before = value.value.value
          for _ in 0..<20 { _ = domain.value.read { _ in value.value.value } }
          if value.value.value != before { wrong.add(1) }
        }
        reads.add(1)
      }
    }
    #expect(wrong.value == 0 && reads.value > 0)
    #expect(domain.value.openSections == 0)
    await domain.value.barrier()
    #expect(alive.value == 1)
  }

  /// A section that waits on one thread and goes on on another: one of them counts by sequences,
  /// the other cannot.
  @Test func sectionMayBeLeftOnAnotherKindOfThread() async {
    let domain = Shared(SleepableDomain())
    let number = Counter()
    for round in 0..<200 {
      let inside = AsyncEvent(), leave = AsyncEvent()
      let task = Task {
        await domain.value.read { _ in
          inside.open()
          await leave.wait()
        }
      }
      await inside.wait()
      let before = domain.value.startGracePeriod()
      if round % 2 == 0 { #expect(!before.isElapsed) }
      await onThread {
        _ = leave_restartable_sequences(Self.numbers[round % Self.numbers.count])
        domain.value.read { _ in _ = number.add(1) }
      }
      leave.open()
      await task.value
      await domain.value.synchronize()
      #expect(before.isElapsed && domain.value.openSections == 0)
    }
    #expect(number.value == 200)
  }
}
