import Glibc
import Quiescence
import Synchronization
import TestSupport
import Testing
import _QuiescenceShims

@Suite(.exclusive) struct GracePeriodTests {
  @Test(arguments: FlavorCase.all)
  func synchronizeWaitsForAnOpenSection(_ flavor: FlavorCase) async {
    await expectToWaitForASection(flavor.type) { $0.synchronize() }
  }

  @Test(arguments: FlavorCase.all)
  func emptyBarrierIncludesAGracePeriod(_ flavor: FlavorCase) async {
    await expectToWaitForASection(flavor.type) { $0.barrier() }
  }

  @Test(arguments: FlavorCase.anywhere)
  func nestedSectionsEndWithTheOutermost(_ flavor: FlavorCase) async {
    @Sendable func nest<F: Flavor>(_: F.Type) { for _ in 0..<5 { F.read { _ in F.read { _ in } } } }
    await expectToWaitForASection(flavor.type, after: { nest(flavor.type) }, { $0.synchronize() })
  }

  /// Opens a section on one thread, runs `inside` in it, and expects `wait` on another thread to
  /// end after the section.
  private func expectToWaitForASection<F: Flavor>(
    _: F.Type, after inside: @escaping @Sendable () -> Void = {},
    _ wait: @escaping @Sendable (any Flavor.Type) -> Void
  ) async {
    let entered = Parker()
    let left = Counter()
    await onThreads(2) { index in
      if index == 0 {
        F.readAnywhere {
          inside()
          entered.open()
          // Long enough that the other thread is probably waiting. The expectations do not depend
          // on it.
          for _ in 0..<1000 { Processor.yield() }
          left.add(1)
        }
      } else {
        entered.wait()
        wait(F.self)
        #expect(left.value == 1)
      }
    }
  }

  @Test(arguments: FlavorCase.anywhere)
  func synchronizeDoesNotWaitForLaterSections(_ flavor: FlavorCase) async {
    // Two readers whose sections overlap, so that a section is nearly always open.
    func run<F: Flavor>(_: F.Type) async -> Int {
      let stop = Counter()
      let rounds = Counter()
      await onThreads(3) { index in
        if index == 2 {
          for _ in 0..<100 {
            F.synchronize()
            rounds.add(1)
          }
          stop.add(1)
        } else {
          while stop.value == 0 { F.read { _ in for _ in 0..<50 { Processor.yield() } } }
        }
      }
      return rounds.value
    }
    #expect(await run(flavor.type) == 100)
  }

  /// A section of one flavor delays no grace period of another.
  @Test(arguments: FlavorCase.all)
  func flavorsAreIndependent(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      await onThreads { _ in
        F.readAnywhere {
          for other in FlavorCase.all where other.type != F.self { other.type.synchronize() }
        }
      }
    }
    await run(flavor.type)
  }

  @Test(arguments: FlavorCase.all)
  func asyncSynchronizeEndsForManyTasks(_ flavor: FlavorCase) async {
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<1000 { group.addTask { await flavor.type.synchronize() } }
    }
  }

  @Test(arguments: FlavorCase.all)
  func retiredObjectsAreDestroyedBeforeTheBarrierReturns(_ flavor: FlavorCase) async {
    let alive = Counter()
    let ran = Counter()
    for index in 0..<1000 {
      flavor.type.retire(Tracked(index, alive: alive))
      flavor.type.retire { ran.add(1) }
    }
    let pointer = UnsafeMutableRawPointer(Unmanaged.passRetained(ran).toOpaque())
    flavor.type.unsafeRetire(pointer) { Unmanaged<Counter>.fromOpaque($0!).takeRetainedValue().add(1) }
    await flavor.type.barrier()
    #expect(alive.value == 0)
    #expect(ran.value == 1001)
  }

  @Test(arguments: FlavorCase.all)
  func barrierWaitsForChainedCallbacks(_ flavor: FlavorCase) async {
    let ran = Counter()
    flavor.type.retire {
      flavor.type.retire {
        flavor.type.retire { ran.add(1) }
      }
    }
    await onThreads { _ in flavor.type.barrier() }
    #expect(ran.value == 1)
  }

  @Test(arguments: FlavorCase.all)
  func everyFlavorReadsAndUpdatesBoxes(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      await onThreads { _ in
        let box = RCUBox(Tracked(1, alive: alive), flavor: F.self)
        F.readAnywhere {
          box.exchange(Tracked(2, alive: alive))
          #expect(box.read { $0.value } == 2)
        }
        #expect(box.exchange(Tracked(3, alive: alive)).take().value == 2)
      }
      await F.barrier()
      #expect(alive.value == 0)
    }
    await run(flavor.type)
  }

  @Test(arguments: FlavorCase.all)
  func gracePeriodsEndWhileThreadsStartAndEnd(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      let box = Shared(RCUBox(1, flavor: F.self))
      let sum = Counter()
      let stop = Counter()
      async let grace: Void = onThreads(2) { _ in while stop.value == 0 { F.synchronize() } }
      for _ in 0..<50 {
        await onThreads(8) { _ in sum.add(F.readAnywhere { box.value.snapshot() }) }
      }
      stop.add(1)
      await grace
      await F.synchronize()
      return sum.value
    }
    #expect(await run(flavor.type) == 400)
  }

  /// Other code in the process may use liburcu directly, on the same threads.
  @Test func threadsRegisteredByOtherCodeMayRead() async {
    let box = Shared(RCUBox(1))
    let fast = Shared(RCUBox(1, flavor: QSBR.self))
    let fenced = Shared(RCUBox(1, flavor: MB.self))
    let sum = await onThread {
      urcu_memb_register_thread()
      urcu_mb_register_thread()
      urcu_bp_register_thread()
      urcu_qsbr_register_thread()
      qs_qsbr_go_offline()
      var sum = box.value.snapshot() + fenced.value.snapshot()
      sum += Bulletproof.read { _ in 1 }
      sum += QSBR.withOnlineReader { reader in fast.value.load(reader).value }
      urcu_memb_unregister_thread()
      urcu_mb_unregister_thread()
      urcu_qsbr_unregister_thread()
      // Not registered now: the thread registers at its next read, and unregisters at its end.
      sum += box.value.snapshot() + fenced.value.snapshot()
      sum += QSBR.withOnlineReader { reader in fast.value.load(reader).value }
      return sum
    }
    #expect(sum == 7)
    for flavor in FlavorCase.all { await flavor.type.synchronize() }
  }
}

extension Processor {
  /// A point where another thread may run.
  static func yield() { _ = sched_yield() }
}
