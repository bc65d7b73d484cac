import Foundation
import Quiescence
import TestSupport
import Testing

@testable import Bigref

@Suite(.exclusive) struct ArenaTests {
  /// Slots of one processor lie side by side, and those of two are in pages of their own.
  @Test func aCounterCostsEightBytesAProcessor() async {
    await onThreads { _ in
      let counts = (0..<10_000).map { _ in Shared(Bigref()) }
      let slots = Set(counts.map { $0.value.storage.slots })
      #expect(slots.count == counts.count)
      #expect(slots.allSatisfy { $0 % 8 == 0 })
      // 512 to a page, wherever among those of the whole process they lie; a block's last page may not be full.
      let all = Bigref.statistics.counters
      #expect(Set(slots.map { $0 / 4096 }).count <= all / 512 + all / 8192 + 2)
    }
  }

  /// 64 bytes a counter, and 8 on each processor where somebody has counted: measured, in a process of its own.
  @Test func aMillionCountersTakeNoMore() async {
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
      // What a block begins with and does not use, and what the process grew by meanwhile.
      if used > limit + limit / 20 { fatalError("a million counters take \(used) bytes, more than \(limit)") }
    }
    #expect(result != nil, "\(result.line)")
  }

  @Test func freedCountersAreUsedAgainAndCountFromZero() async {
    func round() async {
      await onThreads(2) { _ in
        let counts = (0..<2000).map { _ in Shared(Bigref()) }
        // What is left on the slots at the end must not be there for the next.
        for count in counts { for _ in 0..<3 { count.value.acquire() } }
        for count in counts { if count.value.approximateCount != 3 { fatalError("a slot was not zero") } }
      }
      await Memb.barrier()
    }
    await round()
    let before = Bigref.statistics.counters
    for _ in 0..<20 { await round() }
    // Threads that have ended have returned theirs: no more than a magazine for each that is still there, and what other
    // tests had meanwhile.
    #expect(Bigref.statistics.counters - before < 4000)
  }

  @Test func threadsThatComeAndGoKeepNothing() async {
    for _ in 0..<3 { await onThreads(8) { _ in for _ in 0..<100 { _ = Bigref() } } }
    await Memb.barrier()
    let before = Bigref.statistics.counters
    for _ in 0..<50 { await onThreads(8) { _ in for _ in 0..<100 { _ = Bigref() } } }
    await Memb.barrier()
    #expect(Bigref.statistics.counters - before < 8 * 50 * 32)
  }

  /// When the kernel refuses memory for slots, a counter counts on one atomic, and is as exact.
  @Test func withoutMemoryForSlotsItCountsAllTheSame() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        var counts: [Shared<Bigref>] = []
        counts.reserveCapacity(20_000)
        Memb.read { _ in }
        // Less than is mapped already: nothing more is granted.
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
    #expect(result != nil, "\(result.line)")
  }

  /// A child that is forked while others take, return and kill counters finds every lock free. In a process of its own:
  /// what other tests have the Swift runtime do for the first time, a fork would leave half done.
  @Test func aForkedChildCounts() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let done = Counter()
      let rounds = Counter()
      let count = Shared(Bigref())
      await onThreads(4) { index in
        // Once, before anybody forks.
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
            // What was counted before the fork counts in the child, and what the child does is its own.
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
    #expect(result != nil, "\(result.line)")
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
