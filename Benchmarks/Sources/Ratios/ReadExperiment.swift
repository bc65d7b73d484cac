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
    "Each loop exists at \(PEER_PLACES) places in a cache line, in both languages; the best place counts.",
  ]

  func skipped(on machine: Machine) -> [String] {
    machine.processors.count > 1
      ? []
      : ["\(many) readers against 1, since there is one processor only: nothing can contend on it."]
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let threads = PinnedThreads(processors: machine.processors)
    let all = contenders
    let everywhere = Array(0..<Int32(PEER_PLACES))
    let one = try measured(all.map { ($0, everywhere) }, 1, threads, scale)
    // Every name that is looked up is in the list.
    func alone(_ name: String) -> Measured { one.first { $0.contender.name == name }! }

    var rows = one.map { figures in
      guard let base = figures.contender.base else { return figures.row }
      return figures.row.compared(to: alone(base).row, as: base, wanted: figures.contender.wanted)
    }
    if machine.processors.count > 1 {
      // The very same instructions as with one thread.
      let crowding = all.filter(\.crowds).map { ($0, [alone($0.name).place]) }
      rows += try measured(crowding, many, threads, scale).map { figures in
        figures.row.compared(
          to: alone(figures.contender.name).row, as: "1 thread", wanted: figures.contender.wanted)
      }
    }
    return rows
  }

  private struct Measured {
    let contender: Contender
    /// Where its loop ran best.
    let place: Int32
    let row: Row
  }

  private func measured(
    _ contenders: [(Contender, places: [Int32])], _ count: Int, _ threads: PinnedThreads, _ scale: Scale
  ) throws -> [Measured] {
    let target = scale.isQuick ? 1e6 : 5e6
    var rounds = contenders.map { _, places in places.map { _ in Rounds() } }
    // How many operations fill the time: from a first look that counts for nothing.
    let sizes = try contenders.map { contender, places in
      let figure = try time(contender, at: places[0], 20_000, 1, threads)
      return UInt64(max(1000, target / max(figure, 0.05)))
    }
    for _ in 0..<scale.rounds {
      for (index, (contender, places)) in contenders.enumerated() {
        for (number, place) in places.enumerated() {
          rounds[index][number].add(try time(contender, at: place, sizes[index], count, threads))
        }
      }
    }
    return zip(contenders, rounds).map { contender, rounds in
      // There are places.
      let best = rounds.indices.min { rounds[$0].best < rounds[$1].best }!
      let row = Row(
        name, contender.0.name, threads: count, nanoseconds: rounds[best].best, median: rounds[best].median,
        clock: .thread)
      return Measured(contender: contender.0, place: contender.places[best], row: row)
    }
  }

  /// Nanoseconds an operation, the mean of the threads.
  private func time(
    _ contender: Contender, at place: Int32, _ count: UInt64, _ threadCount: Int, _ threads: PinnedThreads
  ) throws -> Double {
    let finished = Counter()
    let times = try threads.run(threadCount) { _, start -> Double? in
      start.wait()
      var isRight = contender.isRight(place, count / 8)
      let before = peer_thread_nanoseconds()
      isRight = contender.isRight(place, count) && isRight
      let after = peer_thread_nanoseconds()
      // Nobody is measured on a processor that others have left already.
      finished.add()
      while finished.value < threadCount { isRight = contender.isRight(place, count / 64) && isRight }
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
    let run: @Sendable (_ place: Int32, _ count: UInt64) -> UInt64
    /// What one operation adds to the sum.
    var number: UInt64 = 3
    /// Compared with this one.
    var base: String?
    var wanted: Double?
    /// Takes part with many threads as well.
    var crowds = false

    func against(_ base: String, wanted: Double? = nil) -> Contender {
      var contender = self
      (contender.base, contender.wanted) = (base, wanted)
      return contender
    }

    func crowding() -> Contender {
      var contender = self
      contender.crowds = true
      return contender
    }

    func isRight(_ place: Int32, _ count: UInt64) -> Bool { run(place, count) == count * number }
  }

  private var contenders: [Contender] {
    let loops = ReadLoops(3)
    let cell = Cell()

    func swift(_ name: String, _ loop: ReadLoops.Loop, number: UInt64 = 3) -> Contender {
      Contender(name: name, run: { loops.run(loop, at: $0, $1) }, number: number)
    }
    func c(
      _ name: String, _ loop: @escaping @Sendable (OpaquePointer?, Int32, UInt64) -> UInt64
    ) -> Contender {
      Contender(name: name, run: { loop(cell.cell, $0, $1) })
    }
    let plain = "plain load, C"
    let memb = "memb, C inlined"
    let bp = "bp, C inlined"
    let mb = "mb, C inlined"
    return [
      Contender(name: "floor, C", run: { peer_floor($0, $1) }, number: 1),
      swift("floor, Swift", .floor, number: 1),
      c(plain, peer_read_plain),
      swift("plain load, Swift", .plain).against(plain),
      c("qsbr, C inlined", peer_read_qsbr).against(plain),
      swift("RCUBox.load, QSBR", .loadQSBR).against(plain, wanted: 1.05).crowding(),
      swift("RCUBox.read, QSBR", .readQSBR).against(plain, wanted: 1.05).crowding(),
      c(memb, peer_read_memb).crowding(),
      swift("RCUBox.read, Memb", retainsOnPurpose ? .retainOnPurpose : .readMemb)
        .against(memb, wanted: 1.05).crowding(),
      swift("Memb.read and RCUBox.load", .loadMemb).against(memb).crowding(),
      c("memb, C called", peer_read_memb_called).against(memb),
      c(bp, peer_read_bp),
      swift("RCUBox.read, Bulletproof", .readBulletproof).against(bp),
      c("bp, C called", peer_read_bp_called).against(bp),
      c(mb, peer_read_mb),
      swift("RCUBox.read, MB", .readMB).against(mb),
      c("mb, C called", peer_read_mb_called).against(mb),
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
