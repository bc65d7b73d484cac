import Glibc
import Quiescence
import Synchronization
import TestSupport
import Testing
import _QuiescenceShims

@Suite(.exclusive) struct GracePeriodTests {
  @Test func synchronizeWaitsForAnOpenSection() async {
    await expectToWaitForASection { Memb.synchronize() }
  }

  @Test func nestedSectionsAreOne() async {
    await expectToWaitForASection(
      after: { for _ in 0..<5 { Memb.read { _ in Memb.read { _ in } } } }, { Memb.synchronize() })
  }

  @Test func emptyBarrierHoldsAGracePeriod() async {
    await expectToWaitForASection { Memb.barrier() }
  }

  /// Opens a section on one thread, does `inside` in it, and expects `wait` on another to end after the section.
  private func expectToWaitForASection(
    after inside: @escaping @Sendable () -> Void = {}, _ wait: @escaping @Sendable () -> Void
  ) async {
    let entered = Parker()
    let left = Counter()
    await onThreads(2) { index in
      if index == 0 {
        Memb.read { _ in
          inside()
          entered.open()
          // Long enough for the other thread to be waiting; what is expected does not depend on it.
          for _ in 0..<1000 { Processor.yield() }
          left.add(1)
        }
      } else {
        entered.wait()
        wait()
        #expect(left.value == 1)
      }
    }
  }

  @Test func synchronizeDoesNotWaitForLaterSections() async {
    // Two readers hand over to each other, so that one of them is always inside.
    let stop = Counter()
    let rounds = Counter()
    await onThreads(3) { index in
      if index == 2 {
        for _ in 0..<100 {
          Memb.synchronize()
          rounds.add(1)
        }
        stop.add(1)
      } else {
        while stop.value == 0 { Memb.read { _ in for _ in 0..<50 { Processor.yield() } } }
      }
    }
    #expect(rounds.value == 100)
  }

  @Test func asyncSynchronizeEndsForManyTasks() async {
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<100 { group.addTask { await Memb.synchronize() } }
      for _ in 0..<100 { group.addTask { await QSBR.synchronize() } }
    }
  }

  @Test func retiredThingsGoAfterTheBarrier() async {
    let alive = Counter()
    let ran = Counter()
    for index in 0..<1000 {
      Memb.retire(Tracked(index, alive: alive))
      Memb.retire { ran.add(1) }
      QSBR.retire { ran.add(1) }
    }
    let pointer = UnsafeMutableRawPointer(Unmanaged.passRetained(ran).toOpaque())
    Memb.unsafeRetire(pointer) { Unmanaged<Counter>.fromOpaque($0!).takeRetainedValue().add(1) }
    await Memb.barrier()
    await QSBR.barrier()
    #expect(alive.value == 0)
    #expect(ran.value == 2001)
  }

  @Test func barrierWaitsForWhatCallbacksRetire() async {
    let ran = Counter()
    Memb.retire {
      Memb.retire {
        Memb.retire { ran.add(1) }
      }
    }
    await onThreads { _ in Memb.barrier() }
    #expect(ran.value == 1)
  }

  /// Other code of the process may use liburcu directly, on the same threads.
  @Test func threadsThatOthersRegistered() async {
    let box = Shared(RCUBox(1))
    let fast = Shared(RCUBox(1, flavor: QSBR.self))
    let sum = await onThread {
      urcu_memb_register_thread()
      urcu_qsbr_register_thread()
      qs_qsbr_go_offline()
      var sum = box.value.snapshot() + QSBR.withOnlineReader { reader in fast.value.load(reader).value }
      urcu_memb_unregister_thread()
      urcu_qsbr_unregister_thread()
      // Nobody's now: it registers itself, and leaves when the thread ends.
      sum += box.value.snapshot() + QSBR.withOnlineReader { reader in fast.value.load(reader).value }
      return sum
    }
    #expect(sum == 4)
    await Memb.synchronize()
    await QSBR.synchronize()
  }

  @Test func threadsComeAndGo() async {
    let box = Shared(RCUBox(1))
    let sum = Counter()
    await onThreads(2) { _ in for _ in 0..<500 { Memb.synchronize() } }
    for _ in 0..<50 {
      await onThreads(8) { index in
        sum.add(box.value.snapshot())
        if index % 2 == 0 { QSBR.withOnlineReader { reader in reader.quiescentState() } }
      }
    }
    await Memb.synchronize()
    await QSBR.synchronize()
    #expect(sum.value == 400)
  }
}

extension Processor {
  /// A point at which another thread may run.
  static func yield() { _ = sched_yield() }
}
