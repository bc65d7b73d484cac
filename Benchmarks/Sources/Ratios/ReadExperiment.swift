import CPeers
import Synchronization

/// What a protected read costs: a load of the published pointer, a load of a number behind it, and the section.
struct ReadExperiment: Experiment {
  let name = ExperimentName.read
  let retainsOnPurpose: Bool

  /// Busy readers of the second part.
  private let many = 4

  let notes = [
    "Processor time of the thread an operation, so that more busy threads than processors count only their own.",
    "Each loop adds up what it has read, and the sum is checked. The floor is the loop without a load.",
  ]

  func skipped(on machine: Machine) -> [String] {
    machine.processors.count > 1
      ? []
      : ["\(many) readers against 1, since there is one processor only: nothing can contend on it."]
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let threads = PinnedThreads(processors: machine.processors)
    let all = contenders
    let one = try rows(all, 1, threads, scale)
    // Every name that is looked up is in the list.
    func figures(_ name: String) -> Row { one.first { $0.contender == name }! }
    func contender(_ row: Row) -> Contender { all.first { $0.name == row.contender }! }

    var result = one.map { row in
      guard let base = contender(row).base else { return row }
      return row.compared(to: figures(base), as: base, wanted: contender(row).wanted)
    }
    if machine.processors.count > 1 {
      let crowd = try rows(all.filter(\.crowds), many, threads, scale)
      result += crowd.map { row in
        row.compared(to: figures(row.contender), as: "1 thread", wanted: contender(row).wanted)
      }
    }
    return result
  }

  private func rows(
    _ contenders: [Contender], _ count: Int, _ threads: PinnedThreads, _ scale: Scale
  ) throws -> [Row] {
    let target = scale.isQuick ? 3e6 : 20e6
    var rounds = contenders.map { _ in Rounds() }
    // How many operations fill the time: from a first look that counts for nothing.
    let sizes = try contenders.map { contender in
      let figure = try time(contender, 20_000, 1, threads)
      return UInt64(max(1000, target / max(figure, 0.05)))
    }
    for _ in 0..<scale.rounds {
      for (index, contender) in contenders.enumerated() {
        rounds[index].add(try time(contender, sizes[index], count, threads))
      }
    }
    return zip(contenders, rounds).map { contender, rounds in
      Row(
        name, contender.name, threads: count, nanoseconds: rounds.best, median: rounds.median, clock: .thread)
    }
  }

  /// Nanoseconds an operation, the mean of the threads.
  private func time(
    _ contender: Contender, _ count: UInt64, _ threadCount: Int, _ threads: PinnedThreads
  ) throws -> Double {
    let finished = Counter()
    let times = try threads.run(threadCount) { _, start -> Double? in
      start.wait()
      var isRight = contender.isRight(count / 8)
      let before = peer_thread_nanoseconds()
      isRight = contender.isRight(count) && isRight
      let after = peer_thread_nanoseconds()
      // Nobody is measured on a processor that others have left already.
      finished.add()
      while finished.value < threadCount { isRight = contender.isRight(count / 64) && isRight }
      return isRight ? Double(after - before) / Double(count) : nil
    }
    let right = times.compactMap { $0 }
    if right.count < times.count {
      throw MeasurementError("read: the sum of \(contender.name) is wrong: it did not do its loads.")
    }
    return right.reduce(0, +) / Double(right.count)
  }
}

extension ReadExperiment {
  private struct Contender: Sendable {
    let name: String
    let run: @Sendable (UInt64) -> UInt64
    /// What one operation adds to the sum.
    var number: UInt64 = 3
    /// Compared with this one.
    var base: String?
    var wanted: Double?
    /// Takes part with many threads as well.
    var crowds = false

    func isRight(_ count: UInt64) -> Bool { run(count) == count * number }
  }

  private var contenders: [Contender] {
    let swift = ReadLoops(3)
    let cell = Cell()
    let memb = retainsOnPurpose ? swift.retainOnPurpose : swift.readMemb
    return [
      Contender(name: "floor, C", run: peer_floor, number: 1),
      Contender(name: "floor, Swift", run: swift.floor, number: 1),
      Contender(name: "plain load, C", run: { peer_read_plain(cell.cell, $0) }),
      Contender(name: "plain load, Swift", run: swift.readPlain, base: "plain load, C"),
      Contender(
        name: "qsbr, C inlined", run: { peer_read_qsbr(cell.cell, $0) }, base: "plain load, C"),
      Contender(
        name: "RCUBox.load, QSBR", run: swift.loadQSBR, base: "plain load, C", wanted: 1.05, crowds: true),
      Contender(name: "RCUBox.read, QSBR", run: swift.readQSBR, base: "plain load, C", wanted: 1.05, crowds: true),
      Contender(name: "memb, C inlined", run: { peer_read_memb(cell.cell, $0) }, crowds: true),
      Contender(name: "RCUBox.read, Memb", run: memb, base: "memb, C inlined", wanted: 1.05, crowds: true),
      Contender(name: "Memb.read and RCUBox.load", run: swift.loadMemb, base: "memb, C inlined", crowds: true),
      Contender(name: "memb, C called", run: { peer_read_memb_called(cell.cell, $0) }, base: "memb, C inlined"),
      Contender(name: "bp, C inlined", run: { peer_read_bp(cell.cell, $0) }),
      Contender(name: "RCUBox.read, Bulletproof", run: swift.readBulletproof, base: "bp, C inlined"),
      Contender(name: "bp, C called", run: { peer_read_bp_called(cell.cell, $0) }, base: "bp, C inlined"),
      Contender(name: "mb, C inlined", run: { peer_read_mb(cell.cell, $0) }),
      Contender(name: "RCUBox.read, MB", run: swift.readMB, base: "mb, C inlined"),
      Contender(name: "mb, C called", run: { peer_read_mb_called(cell.cell, $0) }, base: "mb, C inlined"),
    ]
  }

  /// The peers' published pointer.
  private struct Cell: @unchecked Sendable {
    // Unchecked: nobody writes it.
    let cell = peer_cell_make(3)
  }
}

/// A number that threads count on.
final class Counter: Sendable {
  private let count: Atomic<Int>

  init(_ initial: Int = 0) {
    count = Atomic(initial)
  }

  var value: Int { count.load(ordering: .acquiring) }

  @discardableResult
  func add(_ difference: Int = 1) -> Int { count.add(difference, ordering: .acquiringAndReleasing).newValue }
}
