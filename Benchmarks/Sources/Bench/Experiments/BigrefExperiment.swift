import Bigref
import CPeers
import Synchronization

/// The cost of an increment and a decrement.
struct BigrefExperiment: Experiment {
  let name = ExperimentName.bigref
  let hasPromises = true

  let notes = [
    "One increment and one decrement are one operation: processor time, or wall-clock time where threads may sleep.",
    "`a number of its own` is the cost of counting that no other thread can see; all others are one shared counter.",
    "Checked: each counter shows what was counted, and is back at its start at the end.",
    "`kill`: the given number of counters; wall-clock time per counter, while a thread is busy on another processor.",
  ]

  func skipped(on machine: Machine) -> [String] {
    var sentences: [String] = []
    if Bigref.statistics.counting != .restartableSequences {
      sentences.append("restartable sequences: \(Bigref.statistics.counting). Bigref counts by atomics here.")
    }
    if machine.processors.count == 1 {
      sentences.append("several threads, since there is one processor only: nothing can contend on it.")
    }
    return sentences
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let timer = ReaderTimer(name, on: machine)
    let counters = Counters()
    try counters.check()
    let promised = ["Bigref", "Bigref, tryAcquireLive", "one shared atomic, C"]
    let contenders = self.contenders(counters).filter { !scale.promisedOnly || promised.contains($0.name) }
    var rows: [Row] = []
    for threads in machine.processors.count == 1 ? [1] : machine.threadCounts {
      var rounds = contenders.map { _ in Rounds() }
      let sizes = try contenders.map { contender in
        try timer.size(contender, nanoseconds: scale.isQuick ? 1e6 : 5e6, readers: threads) {
          contender.read(0, $0)
        }
      }
      for _ in 0..<min(scale.rounds, 11) {
        for (index, contender) in contenders.enumerated() {
          rounds[index].add(
            try timer.time(contender, sizes[index], readers: threads) { contender.read(0, $0) })
        }
      }
      rows += zip(contenders, rounds).map { contender, rounds in
        Row(
          name, contender.name, threads: threads, nanoseconds: rounds.best, median: rounds.median,
          clock: contender.blocks ? .wall : .thread)
      }
    }
    try counters.checkAllGivenBack()
    let mutexes = ["Mutex, Swift", "pthread_mutex, C"]
    let beside = rows.besideC(
      Dictionary(
        uniqueKeysWithValues: contenders.map {
          ($0.name, mutexes.contains($0.name) ? "pthread_mutex, C" : "one shared atomic, C")
        }))
    if Bigref.statistics.counting != .restartableSequences { return beside }
    return judged(beside) + (try KillMeasurement(experiment: name).rows(on: machine, scale))
  }

  /// A pair takes at most 1.5 ns, and on many threads at most 1.1 times the time on one. It is 8
  /// times as fast as an atomic, and 20 times as fast if several threads contend for that atomic.
  private func judged(_ rows: [Row]) -> [Row] {
    rows.map { row in
      switch (row.contender, row.threads) {
      case ("Bigref", 1): return row.limited(to: 1.5)
      case ("Bigref", _):
        guard let alone = rows.first(where: { $0.contender == "Bigref" && $0.threads == 1 }) else {
          return row
        }
        return row.compared(to: alone, as: "1 thread", wanted: 1.1)
      case ("Bigref, tryAcquireLive", let threads):
        guard let atomic = rows.first(where: { $0.contender == row.c && $0.threads == threads }) else {
          return row
        }
        return row.compared(to: atomic, as: atomic.contender, wanted: threads == 1 ? 1 / 8 : 1 / 20)
      default: return row
      }
    }
  }

  private func contenders(_ counters: Counters) -> [Contender] {
    func counting(
      _ name: String, blocks: Bool = false, _ run: @escaping @Sendable (UInt64) -> UInt64
    ) -> Contender {
      Contender(name: name, blocks: blocks, number: 1, read: { _, count in run(count) })
    }
    return [
      counting("a number of its own, C", peer_count_own),
      counting("Bigref", counters.countLive),
      counting("Bigref, tryAcquireLive", counters.tryCountLive),
      counting("Bigref, killed", counters.countKilled),
      counting("one shared atomic, C", peer_count_shared),
      counting("Atomic, Swift", counters.countAtomically),
      counting("strong reference, Swift", counters.countReferences),
      counting("std::shared_ptr, C++", peer_count_shared_ptr),
      counting("Mutex, Swift", blocks: true, counters.countLocked),
      counting("pthread_mutex, C", blocks: true, peer_count_locked),
    ]
  }
}

/// One counter of each kind. Each is alone on its cache lines, so that threads that only read do
/// not wait for them.
private final class Counters: Sendable {
  private let live = Bigref()
  private let killed = Bigref()
  private let atomic = PaddedCounter()
  private let locked = LockedNumber()
  private let object = PaddedCounter()

  init() {
    // Held, so that it never reaches zero.
    killed.acquire()
    killed.kill()
  }

  private final class LockedNumber: Sendable {
    private let before = CacheLines()
    let number = Mutex(0)
    private let after = CacheLines()
  }

  private final class PaddedCounter: Sendable {
    private let before = CacheLines()
    let count = Atomic(0)
    private let after = CacheLines()
  }

  /// Two cache lines.
  private struct CacheLines: Sendable {
    private let words: InlineArray<16, UInt64> = .init(repeating: 0)
  }

  @inline(never)
  func countLive(_ count: UInt64) -> UInt64 {
    Contender.sum(count) {
      live.acquire()
      live.release()
      return peer_opaque(1)
    }
  }

  @inline(never)
  func tryCountLive(_ count: UInt64) -> UInt64 {
    Contender.sum(count) {
      if !live.tryAcquireLive() { return 0 }
      live.release()
      return 1
    }
  }

  @inline(never)
  func countKilled(_ count: UInt64) -> UInt64 {
    Contender.sum(count) {
      killed.acquire()
      killed.release()
      return peer_opaque(1)
    }
  }

  @inline(never)
  func countAtomically(_ count: UInt64) -> UInt64 {
    Contender.sum(count) {
      let seen = atomic.count.wrappingAdd(1, ordering: .relaxed).newValue
      atomic.count.wrappingSubtract(1, ordering: .releasing)
      return seen > 0 ? 1 : 0
    }
  }

  @inline(never)
  func countReferences(_ count: UInt64) -> UInt64 {
    let address = UInt64(UInt(bitPattern: Unmanaged.passUnretained(object).toOpaque()))
    return Contender.sum(count) {
      // Through two opaque addresses, so that the compiler cannot remove the pair.
      for (number, isRetain) in [(peer_opaque(address), true), (peer_opaque(address), false)] {
        guard let pointer = UnsafeRawPointer(bitPattern: UInt(number)) else { return 0 }
        let reference = Unmanaged<PaddedCounter>.fromOpaque(pointer)
        if isRetain { _ = reference.retain() } else { reference.release() }
      }
      return 1
    }
  }

  @inline(never)
  func countLocked(_ count: UInt64) -> UInt64 {
    Contender.sum(count) {
      let seen = locked.number.withLock { number -> Int in
        number += 1
        return number
      }
      locked.number.withLock { $0 -= 1 }
      return seen > 0 ? 1 : 0
    }
  }

  /// Checks that the counters show what was counted.
  func check() throws {
    for _ in 0..<1000 {
      live.acquire()
      killed.acquire()
    }
    let seen = (live.approximateCount, killed.approximateCount)
    for _ in 0..<1000 {
      live.release()
      killed.release()
    }
    if seen != (1000, 1001) { throw MeasurementError("bigref: counted 1000 and 1001, and it shows \(seen)") }
  }

  func checkAllGivenBack() throws {
    let left = (
      live.approximateCount, killed.approximateCount, atomic.count.load(ordering: .relaxed),
      locked.number.withLock { $0 },
      Int(peer_count_left())
    )
    if left != (0, 1, 0, 0, 0) { throw MeasurementError("bigref: not all was given back: \(left)") }
  }
}
