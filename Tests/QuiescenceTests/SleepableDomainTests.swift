import Quiescence
import TestSupport
import Testing

/// Sections that may suspend, and the grace periods of their domain.
@Suite struct SleepableDomainTests {
  struct Refused: Error, Equatable { var value = 0 }

  @Test func sectionsReturnTheResultOfTheirBody() async throws {
    let domain = SleepableDomain("d")
    let box = SleepableBox([1, 2], in: domain)
    #expect(domain.name == "d")
    #expect(domain.read { section in box.load(section).value.count } == 2)
    #expect(box.read { $0.count } == 2)
    #expect(box.snapshot() == [1, 2])
    let sum = await domain.read { section in
      let numbers = box.load(section)
      await Task.yield()
      return numbers.value.reduce(0, +)
    }
    #expect(sum == 3)
    let first = await box.read { numbers in
      await Task.yield()
      return numbers[0]
    }
    #expect(first == 1)
    #expect(domain.openSections == 0)
  }

  @Test func sectionsNest() async {
    let domain = SleepableDomain(), other = SleepableDomain()
    let depth = await domain.read { _ in
      await Task.yield()
      return domain.read { _ in
        other.read { _ in
          Memb.read { _ in domain.openSections * 10 + other.openSections }
        }
      }
    }
    #expect(depth == 21)
    await domain.synchronize()
    await other.synchronize()
  }

  @Test func throwingSectionIsLeft() async {
    let domain = SleepableDomain()
    #expect(throws: Refused(value: 1)) { try domain.read { _ throws(Refused) in throw Refused(value: 1) } }
    do throws(Refused) {
      try await domain.read { _ async throws(Refused) in
        await Task.yield()
        throw Refused(value: 2)
      }
      Issue.record("did not throw")
    } catch { #expect(error.value == 2) }
    #expect(domain.openSections == 0)
    await domain.synchronize()
  }

  @Test func cancelledTaskLeavesItsSection() async {
    let domain = Shared(SleepableDomain())
    let inside = AsyncEvent()
    let task = Task {
      try await domain.value.read { _ in
        inside.open()
        try await Task.sleep(for: .seconds(3600))
      }
    }
    await inside.wait()
    #expect(domain.value.openSections == 1)
    task.cancel()
    await domain.value.synchronize()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(domain.value.openSections == 0)
  }

  @Test func gracePeriodWaitsForSleepingSections() async {
    let domain = Shared(SleepableDomain())
    let (reader, leave) = await sleeper(in: domain)
    let gracePeriod = domain.value.startGracePeriod()
    let isOver = Counter()
    let writer = Task {
      await domain.value.synchronize()
      isOver.add(1)
    }
    // Sections that begin later are not waited for.
    while domain.value.statistics.gracePeriods == 0 && !domain.value.isDraining { await Task.yield() }
    let (laterReader, laterLeaves) = await sleeper(in: domain)
    #expect(domain.value.openSections == 2)
    #expect(isOver.value == 0)
    #expect(!gracePeriod.isElapsed)
    leave.open()
    await reader.value
    await gracePeriod.elapsed()
    #expect(gracePeriod.isElapsed)
    #expect(domain.value.statistics.gracePeriods >= 1)
    laterLeaves.open()
    await writer.value
    await laterReader.value
    #expect(isOver.value == 1)
    #expect(domain.value.openSections == 0)
  }

  @Test func domainsAreIndependent() async {
    let slow = Shared(SleepableDomain("slow")), quick = SleepableDomain("quick")
    let (reader, leave) = await sleeper(in: slow)
    let held = slow.value.startGracePeriod()
    for _ in 0..<10 { await quick.synchronize() }
    await Memb.synchronize()
    #expect(!held.isElapsed)
    #expect(quick.statistics.gracePeriods == 10)
    leave.open()
    await reader.value
    await held.elapsed()
  }

  @Test func sectionFollowsItsTaskToOtherThreads() async {
    let domain = Shared(SleepableDomain())
    let first = Hopper(), second = Hopper()
    let ids = await withTaskGroup(of: Set<Int32>.self) { group in
      for _ in 0..<8 {
        group.addTask {
          var ids: Set<Int32> = []
          for _ in 0..<100 {
            let seen = await domain.value.read { _ in
              let one = await first.thread()
              await Task.yield()
              return [one, await second.thread(), ServiceThread.currentID]
            }
            ids.formUnion(seen)
          }
          return ids
        }
      }
      return await group.reduce(into: Set<Int32>()) { $0.formUnion($1) }
    }
    // The two actors' threads, and the threads of the pool.
    #expect(ids.count > 2)
    #expect(domain.value.openSections == 0)
    await domain.value.synchronize()
  }

  @Test func blockingWaitsEnd() async {
    await onThread {
      let domain = SleepableDomain()
      domain.synchronize()
      #expect(domain.statistics.gracePeriods == 1)
      let gracePeriod = domain.startGracePeriod()
      gracePeriod.wait()
      #expect(gracePeriod.isElapsed)
      gracePeriod.wait()
      let other = domain.startGracePeriod()
      #expect(gracePeriod == gracePeriod && gracePeriod != other)
      #expect(Set([gracePeriod, other, gracePeriod]).count == 2)
      domain.barrier()
    }
  }

  /// Each task waits for a grace period that begins after its call. Together they need few.
  @Test func concurrentWaitersShareGracePeriods() async {
    let domain = Shared(SleepableDomain())
    let (reader, leave) = await sleeper(in: domain)
    let asked = Counter()
    let waiting = (0..<1000).map { _ in
      Task {
        asked.add(1)
        await domain.value.synchronize()
      }
    }
    while asked.value < 1000 { await Task.yield() }
    leave.open()
    for task in waiting { await task.value }
    await reader.value
    #expect(domain.value.statistics.gracePeriods <= 64)
  }

  @Test func retiredObjectsAreDestroyedAfterAGracePeriod() async {
    let alive = Counter()
    let domain = Shared(SleepableDomain())
    let (reader, leave) = await sleeper(in: domain)
    let ran = Counter()
    domain.value.retire(Tracked(1, alive: alive))
    domain.value.retire { ran.add(1) }
    await Memb.barrier()
    #expect(alive.value == 1 && ran.value == 0)
    leave.open()
    await domain.value.barrier()
    #expect(alive.value == 0 && ran.value == 1)
    await reader.value
  }

  /// A wait for a grace period keeps the domain alive by itself.
  @Test func retiringOutlivesTheDomain() async {
    let alive = Counter()
    do {
      let domain = SleepableDomain()
      domain.retire(Tracked(1, alive: alive))
      let box = SleepableBox(Tracked(2, alive: alive), in: domain)
      box.publish(Tracked(3, alive: alive))
    }
    while alive.value > 0 { await Task.yield() }
  }

  @Test func manyDomainsAreCreatedAndDestroyed() async {
    await onThreads(4) { _ in
      for _ in 0..<500 {
        let domain = SleepableDomain()
        domain.read { _ in }
        domain.synchronize()
      }
    }
  }
}

/// A task that sleeps in a section until the event is opened.
private func sleeper(in domain: Shared<SleepableDomain>) async -> (
  reader: Task<Void, Never>, leave: AsyncEvent
) {
  let inside = AsyncEvent(), leave = AsyncEvent()
  let reader = Task {
    await domain.value.read { _ in
      inside.open()
      await leave.wait()
    }
  }
  await inside.wait()
  return (reader, leave)
}

/// An actor on a thread of its own. Its callers switch to that thread.
private actor Hopper {
  private let home = Home()

  nonisolated var unownedExecutor: UnownedSerialExecutor { home.asUnownedSerialExecutor() }

  func thread() -> Int32 { ServiceThread.currentID }

  deinit { home.end() }

  private final class Home: SerialExecutor {
    private let state = Locked(State())

    private struct State {
      var jobs: [UnownedJob] = []
      var isOver = false
      var sleeper: Parker?
    }

    init() { precondition(ServiceThread.start(named: "home") { [self] in run() } == 0) }

    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      state.withLock { state in
        state.jobs.append(job)
        state.sleeper.take()?.open()
      }
    }

    func end() {
      state.withLock { state in
        state.isOver = true
        state.sleeper.take()?.open()
      }
    }

    private func run() {
      while true {
        let sleeper = Parker()
        let (jobs, isOver) = state.withLock { state in
          defer { state.jobs = [] }
          state.sleeper = state.jobs.isEmpty ? sleeper : nil
          return (state.jobs, state.isOver)
        }
        for job in jobs { job.runSynchronously(on: asUnownedSerialExecutor()) }
        if jobs.isEmpty {
          if isOver { return }
          sleeper.wait()
        }
      }
    }
  }
}
