import CPeers

/// liburcu's own benchmark loops with the same arguments, in C and in Swift.
struct URCUExperiment: Experiment {
  let name = ExperimentName.urcu

  let notes = [
    "test_urcu (readers, writers): a section that reads an int; exchange, synchronize, free. rcutorture's rperf",
    "(readers), uperf (updaters), perf (both): empty sections; synchronize alone. The formula is liburcu's: threads",
    "times duration divided by operations. The duration of a reader is its processor time, which other processes",
    "do not affect; the duration of a writer is wall-clock time, because it sleeps. `update_ns` is the writers'.",
    "`threads` is readers, and updaters for uperf; each has a processor of its own if there are enough.",
  ]

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let crowd = max(1, machine.processors.count - 1)
    var programs = [Program.test(readers: 1, writers: 1)]
    if crowd > 1 { programs.append(.test(readers: crowd, writers: 1)) }
    programs += [.perf(readers: 1, updaters: 0)]
    if machine.processors.count > 1 { programs.append(.perf(readers: machine.processors.count, updaters: 0)) }
    programs += [.perf(readers: 0, updaters: 1), .perf(readers: crowd, updaters: 1)]
    return try programs.flatMap { try rows($0, on: machine, scale) }
  }

  /// The program and its arguments, in liburcu's terms.
  private enum Program {
    case test(readers: Int, writers: Int)
    case perf(readers: Int, updaters: Int)

    var readers: Int {
      switch self {
      case .test(let readers, _), .perf(let readers, _): readers
      }
    }

    var writers: Int {
      switch self {
      case .test(_, let writers), .perf(_, let writers): writers
      }
    }

    var name: String {
      switch self {
      case .test: "test_urcu"
      case .perf(_, 0): "rcutorture rperf"
      case .perf(0, _): "rcutorture uperf"
      case .perf: "rcutorture perf"
      }
    }

    func loops(of side: TortureSide) -> (read: TortureSide.Loop, write: TortureSide.Loop) {
      switch self {
      case .test: (side.testRead, side.testWrite)
      case .perf: (side.perfRead, side.perfUpdate)
      }
    }
  }

  private func rows(_ program: Program, on machine: Machine, _ scale: Scale) throws -> [Row] {
    let pairs = TortureSide.pairs
    var rounds: [String: (reads: Rounds, updates: Rounds)] = [:]
    for _ in 0..<scale.fewRounds {
      for side in pairs.flatMap({ [$0.c, $0.swift] }) {
        let result = try run(program, side, on: machine, scale)
        rounds[side.name, default: (Rounds(), Rounds())].reads.add(result.read)
        rounds[side.name, default: (Rounds(), Rounds())].updates.add(result.update)
      }
    }
    return pairs.flatMap { pair in
      let c = row(program, pair.c, rounds[pair.c.name])
      return [c, row(program, pair.swift, rounds[pair.swift.name]).besideC(c)]
    }
  }

  private func row(
    _ program: Program, _ side: TortureSide, _ rounds: (reads: Rounds, updates: Rounds)?
  ) -> Row {
    let (reads, updates) = rounds ?? (Rounds(), Rounds())
    let judged = program.readers > 0 ? reads : updates
    var row = Row(
      name, "\(program.name), \(side.name)", threads: max(program.readers, 1),
      Row.Parameter("writers", Double(program.writers)), nanoseconds: judged.best, median: judged.median,
      clock: program.readers > 0 ? .thread : .wall)
    if program.readers > 0 && program.writers > 0 { row.also["update_ns"] = updates.best }
    return row
  }

  /// Nanoseconds per read and per update, by liburcu's formula.
  private func run(
    _ program: Program, _ side: TortureSide, on machine: Machine, _ scale: Scale
  ) throws -> (read: Double, update: Double) {
    let (read, write) = program.loops(of: side)
    let run = side.makeRun()
    defer { run.free() }
    let readers = program.readers
    let threads = readers + program.writers
    let duration: UInt64 = scale.isQuick ? 20_000_000 : 200_000_000
    let crew = try Crew(threads, on: machine.processors) { index, start -> (UInt64, UInt64) in
      start.wait()
      let now = index < readers ? peer_thread_nanoseconds : peer_wall_nanoseconds
      let before = now()
      let count = index < readers ? read(run) : write(run)
      return (count, now() - before)
    }
    defer { crew.dismiss() }
    // Ends the loops. It sleeps in between, and so takes no processor time.
    let timer = try Thread {
      let end = peer_wall_nanoseconds() + duration
      while peer_wall_nanoseconds() < end { peer_sleep(1_000_000) }
      run.stop()
    }
    let results = try crew.round()
    timer.join()
    if results.contains(where: { $0.0 == 0 }) {
      throw MeasurementError("urcu: \(program.name), \(side.name): read a wrong number, or did nothing.")
    }
    func nanoseconds(_ results: some Collection<(UInt64, UInt64)>) -> Double {
      Double(results.reduce(0) { $0 + $1.1 }) / Double(results.reduce(0) { $0 + $1.0 })
    }
    return (nanoseconds(results.prefix(readers)), nanoseconds(results.dropFirst(readers)))
  }
}
