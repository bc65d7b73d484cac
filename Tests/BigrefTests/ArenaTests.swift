import Foundation
import Quiescence
import TestSupport
import Testing

@testable import Bigref

@Suite(.exclusive) struct ArenaTests {
  /// The slots of one processor are adjacent; those of different processors are in different pages.
  @Test func counterTakesEightBytesPerProcessor() async {
    await onThreads { _ in
      let counts = (0..<10_000).map { _ in Shared(Bigref()) }
      let slots = Set(counts.map { $0.value.storage.slots })
      #expect(slots.count == counts.count)
      #expect(slots.allSatisfy { $0 % 8 == 0 })
      // A page holds 512 slots, of this test's counters and of other tests'. The last page of a
      // block may be partly used.
      let all = Bigref.statistics.counters
      #expect(Set(slots.map { $0 / 4096 }).count <= all / 512 + all / 8192 + 2)
    }
  }

  /// At most 64 bytes per counter, and 8 on each processor where threads have counted: measured, in
  /// a process of its own.
  @Test func millionCountersStayWithinTheMemoryLimit() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      func resident() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
          let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { fatalError("no /proc/self/statm") }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
      }
      let count = 1_000_000
      let before = resident()
      let counters = UnsafeMutablePointer<Bigref>.allocate(capacity: count)
      for index in 0..<count { (counters + index).initialize(to: Bigref()) }
      let processors = Affinity.processors.count
      for processor in Affinity.processors {
        precondition(Affinity.move(0, to: processor))
        for index in 0..<count { counters[index].acquire() }
      }
      let used = resident() - before - count * MemoryLayout<Bigref>.stride
      let limit = count * (64 + 8 * processors)
      // The tolerance covers the unused start of each block, and other growth of the process.
      if used > limit + limit / 20 { fatalError("a million counters take \(used) bytes, more than \(limit)") }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// In a process of its own, whose counters and sections are all the test's.
  @Test func destroyedCountersAreReusedAndStartAtZero() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      func round() async {
        await onThreads(2) { _ in
          let counts = (0..<2000).map { _ in Shared(Bigref()) }
          // What a round leaves on the slots must not be there when the next round reuses them.
          for count in counts { for _ in 0..<3 { count.value.acquire() } }
          for count in counts { if count.value.approximateCount != 3 { fatalError("a slot was not zero") } }
        }
        await Memb.barrier()
      }
      await round()
      let before = Bigref.statistics.counters
      for _ in 0..<20 { await round() }
      // Ended threads have returned their cells. What remains is a magazine per running thread.
      let more = Bigref.statistics.counters - before
      if more >= 4000 { fatalError("\(more) more counters") }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// As above.
  @Test func endedThreadsReturnTheirCells() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      /// The threads have ended, and what they have destroyed is free: however slow the machine is,
      /// the next round finds it.
      func round() async {
        await onThread { joinThreads(8) { for _ in 0..<100 { _ = Bigref() } } }
        await Memb.barrier()
      }
      for _ in 0..<3 { await round() }
      let before = Bigref.statistics.counters
      for _ in 0..<50 { await round() }
      let more = Bigref.statistics.counters - before
      // As many as one round creates; 400 threads would keep more.
      if more >= 800 { fatalError("\(more) more counters") }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// If the kernel refuses memory for slots, a counter counts on one atomic, and is as exact.
  @Test func counterWithoutSlotsCountsExactly() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        var counts: [Shared<Bigref>] = []
        counts.reserveCapacity(20_000)
        Memb.read { _ in }
        // Below what is mapped already, so the kernel grants nothing more.
        limit.rlim_cur = 1 << 20
        precondition(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
        while Bigref.statistics.countersWithoutSlots == 0 && counts.count < 20_000 {
          counts.append(Shared(Bigref()))
        }
        limit.rlim_cur = limit.rlim_max
        precondition(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
        let count = counts[counts.count - 1]
        precondition(!count.value.storage.cell.hasSlots)
        count.value.acquire()
        precondition(count.value.tryAcquireLive())
        precondition(count.value.approximateCount == 2)
        count.value.kill()
        precondition(!count.value.tryAcquireLive() && !count.value.isZero)
        count.value.release()
        count.value.release()
        precondition(count.value.isZero)
        count.value.resurrect()
        precondition(count.value.tryAcquireLive())
        count.value.release()
        count.value.kill()
        precondition(count.value.isZero)
      }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// A child that is forked while other threads acquire, release and kill counters finds every lock
  /// free. This runs in a process of its own: in a process with other tests, the fork could
  /// interrupt a first use inside the Swift runtime.
  @Test func forkedChildCanUseCounters() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let done = Counter()
      let rounds = Counter()
      let count = Shared(Bigref())
      await onThreads(4) { index in
        // Once before the first fork.
        Self.useEverything()
        if rounds.add(1) < 4 { while rounds.value < 4 { sched_yield() } }
        if index > 0 {
          while done.value == 0 { Self.useEverything() }
          return
        }
        count.value.acquire()
        for _ in 0..<20 {
          let result = Forked.run {
            Self.useEverything()
            // The child sees what was counted before the fork. What the child counts does not
            // affect the parent.
            count.value.release()
            count.value.kill()
            return count.value.isZero ? 0 : 1
          }
          if result != .exited(0) { fatalError("a forked child: \(result)") }
        }
        done.add(1)
        precondition(count.value.approximateCount == 1)
      }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  private static func useEverything() {
    let counts = (0..<100).map { _ in Shared(Bigref()) }
    for count in counts {
      count.value.acquire()
      count.value.beginKill()
    }
    if Storage.needsGracePeriod { Memb.synchronize() }
    for count in counts {
      count.value.confirmKill()
      count.value.releaseOwner()
      _ = count.value.storage.atZero(.call {})
      count.value.release()
      if !count.value.isZero { fatalError("not zero") }
    }
  }
}

extension Storage {
  /// The address of the slot on processor 0; 0 without slots.
  var slots: UInt { cell.pointer.load(fromByteOffset: 8, as: UInt.self) }
}
