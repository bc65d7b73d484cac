import CPeers

/// Loads of a pointer that people build structures of, and exchanges of its node by the same
/// threads.
struct PointerExperiment: Experiment {
  let name = ExperimentName.pointer
  let hasPromises = true

  let notes = [
    "Loads of a node's number; a part of the operations publishes another node and retires the old one. Processor",
    "time of the thread, or wall-clock time for those that may sleep. Sums are checked. `exchanges` is how many",
    "operations in a hundred; without any, the loop exists at \(PEER_PLACES) places, and the best one counts.",
    "`rte_rcu_qsbr` spins for a grace period at each exchange: not measured with more threads than processors.",
  ]

  /// The largest allowed ratio to the equivalent in C, on one thread: of loads, and with 10 %
  /// exchanges.
  private let wanted = ["RCUPointer.load, Memb": 1.05]
  private let wantedOfExchanges = ["RCUPointer.load, Memb": 1.5]

  func skipped(on machine: Machine) -> [String] { Contender.missingPeers }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let ours = Contender.pointers()
    let all = ours + Contender.boxes() + Contender.swift() + Contender.peers()
    let needed = Set(ours.map(\.name)).union(ours.map { Contender.inC($0.name) })
    let contenders = scale.promisedOnly ? all.filter { needed.contains($0.name) } : all
    let timer = ReaderTimer(name, on: machine)
    var rows: [Row] = []
    for percent: UInt64 in [0, 1, 10] {
      let taking = percent == 0 ? contenders : contenders.filter { $0.update != nil }
      for threads in scale.promisedOnly ? [1] : machine.threadCounts {
        let taking = taking.filter {
          percent == 0 || !$0.updateSpins || threads <= machine.processors.count
        }
        let measured = try self.rows(taking, percent, threads, timer, scale)
        let names = Dictionary(
          uniqueKeysWithValues: taking.map { ($0.name, Self.peer(of: $0.name, percent)) })
        let limits = threads > 1 || percent == 1 ? [:] : percent == 0 ? wanted : wantedOfExchanges
        rows += measured.besideC(names, wanted: limits)
      }
    }
    return rows
  }

  /// Where nodes are retired, a plain load is no equivalent.
  private static func peer(of name: String, _ percent: UInt64) -> String {
    percent > 0 && name.hasSuffix("QSBR") ? "qsbr, C inlined" : Contender.inC(name)
  }

  private func rows(
    _ contenders: [Contender], _ percent: UInt64, _ threads: Int, _ timer: ReaderTimer, _ scale: Scale
  ) throws -> [Row] {
    let places = percent == 0 ? Array(0..<Int32(PEER_PLACES)) : [0]
    let nanoseconds = scale.isQuick ? 1e6 : 5e6
    let period = percent == 0 ? 0 : 100 / percent
    var rounds = contenders.map { _ in places.map { _ in Rounds() } }
    let sizes = try contenders.map { contender in
      try timer.size(contender, nanoseconds: nanoseconds, readers: 1) {
        Self.operate(contender, 0, $0, period)
      }
    }
    for _ in 0..<(percent == 0 ? scale.rounds : max(scale.fewRounds, min(scale.rounds, 11))) {
      for (index, contender) in contenders.enumerated() {
        // A contended lock takes ten times as long, and shows that in fewer operations.
        let size = contender.blocks && threads > 1 ? max(64, sizes[index] / 8) : sizes[index]
        for (number, place) in places.enumerated() {
          rounds[index][number].add(
            try timer.time(contender, size, readers: threads) { Self.operate(contender, place, $0, period) })
        }
        contender.drain()
      }
    }
    return zip(contenders, rounds).map { contender, rounds in
      // Not empty: there is a place.
      let best = rounds.min { $0.isFaster(than: $1) }!
      return Row(
        name, contender.name, threads: threads, Row.Parameter("exchanges", Double(percent)),
        nanoseconds: best.best,
        median: best.median, clock: contender.blocks ? .wall : .thread)
    }
  }

  /// `count` operations, of which each one of the number `period` publishes a new node.
  private static func operate(_ contender: Contender, _ place: Int32, _ count: UInt64, _ period: UInt64)
    -> UInt64
  {
    guard period > 0, let update = contender.update else { return contender.read(place, count) }
    var sum: UInt64 = 0, left = count
    while left >= period {
      sum &+= contender.read(place, period - 1)
      update()
      // What a read of the new node would add.
      sum &+= contender.number
      left -= period
    }
    return sum &+ contender.read(place, left)
  }
}
