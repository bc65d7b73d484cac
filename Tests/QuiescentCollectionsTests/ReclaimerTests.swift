import Glibc
import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// Collections over reclaimers of choice: limits, executors, several of them.
@Suite(.exclusive) struct CollectionReclaimerTests {
  /// A task that writes to a table whose reclaimer is full suspends: another task of the same
  /// thread closes the section that the room waits for.
  @Test(arguments: [RetireLimit.Policy.wait, .synchronizeInline, .refuse])
  func writerSuspendsWhereTheReclaimerIsFull(_ policy: RetireLimit.Policy) async {
    let reclaimer = RCUReclaimer(named: "table", Memb.self, limit: RetireLimit(10, policy))
    let table = Shared(RCUDictionary<Int, Tracked, Memb>(reclaimer: reclaimer))
    let executor = OneThread()
    let reader = await ParkedReader()
    let alive = Counter(), written = Counter()
    let producer = Task(executorPreference: executor) {
      for number in 0..<1000 {
        await table.value.updateValueSuspending(Tracked(number, alive: alive), forKey: number % 100)
        written.add(1)
      }
      for number in 0..<100 {
        let old = await table.value.removeValueSuspending(forKey: number)
        check(old?.value == 900 + number)
      }
      check(await table.value.removeValueSuspending(forKey: 1) == nil)
    }
    let opener = Task(executorPreference: executor) {
      while reclaimer.statistics.queued < 10 { await Task.yield() }
      // As many writes as there was room, and those that needed none.
      check(written.value < 1000)
      reader.leave()
    }
    await opener.value
    await producer.value
    await reclaimer.barrier()
    await reader.hasLeft()
    check(table.value.isEmpty && alive.value == 0)
    check(reclaimer.statistics.highWater <= 10)
  }

  /// A write that blocks a thread instead: the other task of that thread never runs while the table
  /// is full.
  @Test func writeThatBlocksItsThreadIsCaught() async {
    let reclaimer = RCUReclaimer(named: "table", Memb.self, limit: RetireLimit(10, .wait))
    let table = Shared(RCUDictionary<Int, Int, Memb>(reclaimer: reclaimer))
    let executor = OneThread()
    let reader = await ParkedReader()
    let thread = Counter(), others = Counter()
    let producer = Task(executorPreference: executor) {
      thread.add(Int(ServiceThread.currentID))
      for number in 0..<100 { table.value.updateValue(number, forKey: number % 10) }
    }
    await onThread { while thread.value == 0 || !sleeps(thread.value) { letOthersRun() } }
    let other = Task(executorPreference: executor) { _ = others.add(1) }
    check(reclaimer.statistics.queued == 10 && others.value == 0)
    reader.leave()
    await producer.value
    await other.value
    await reader.hasLeft()
    await reclaimer.barrier()
  }

  /// Destructors of what collections retire run on the executor of their reclaimer.
  @Test func destructorsRunOnTheExecutorOfChoice() async {
    let executor = CountingExecutor()
    let reclaimer = RCUReclaimer(named: "table", Memb.self, runner: .executor(executor))
    let destroyers = Lines()
    do {
      let table = Shared(RCUDictionary<Int, Recorder, Memb>(reclaimer: reclaimer))
      let list = Shared(RCUList<Recorder, Memb>(reclaimer: reclaimer))
      await onThread {
        for number in 0..<10 {
          table.value[number] = Recorder(destroyers)
          list.value.append(Recorder(destroyers))
        }
        // In a section: this thread drops the copies that removals return before.
        Memb.read { _ in
          for number in 0..<10 { table.value[number] = nil }
          list.value.removeAll()
        }
      }
      await reclaimer.barrier()
      #expect(destroyers.all.count == 20)
      #expect(Set(destroyers.all) == ["executor"])
      #expect(executor.jobs.value > 0)
    }
  }

  /// Two tables of one flavor, each with its own reclaimer: a barrier of one does not wait for the
  /// callbacks of the other, and both share the flavor's grace periods.
  @Test func tablesWithReclaimersOfTheirOwnShareGracePeriods() async {
    let slow = RCUReclaimer(named: "slow", Memb.self), fast = RCUReclaimer(named: "fast", Memb.self)
    let tables = Shared(
      TwoTables(slow: RCUDictionary(reclaimer: slow), fast: RCUDictionary(reclaimer: fast)))
    let goesOn = Parker(), destroyed = Counter()
    tables.value.slow[1] = Blocking(goesOn)
    tables.value.fast[1] = Tracked(1, alive: destroyed)
    let before = Memb.statistics.gracePeriods
    tables.value.slow[1] = nil
    tables.value.fast[1] = nil
    // The destructor in the slow reclaimer waits until this has returned.
    await fast.barrier()
    #expect(destroyed.value == 0)
    goesOn.open()
    await slow.barrier()
    // Both were counted by the one flavor.
    #expect(Memb.statistics.gracePeriods > before)
  }

  struct TwoTables: ~Copyable, Sendable {
    let slow: RCUDictionary<Int, Blocking, Memb>
    let fast: RCUDictionary<Int, Tracked, Memb>
  }

  final class Blocking: Sendable {
    let goesOn: Parker
    init(_ goesOn: Parker) { self.goesOn = goesOn }
    deinit { goesOn.wait() }
  }

  /// Records the name of the thread that destroys it.
  final class Recorder: Sendable {
    let destroyers: Lines
    init(_ destroyers: Lines) { self.destroyers = destroyers }
    deinit {
      guard let file = fopen("/proc/thread-self/comm", "r") else { return }
      defer { fclose(file) }
      var name = [CChar](repeating: 0, count: 32)
      guard fgets(&name, 32, file) != nil else { return }
      destroyers.add(String(decoding: name.prefix { $0 > 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
  }
}
