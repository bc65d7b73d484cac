import CPeers
import Quiescence

/// The cost of `retire` for the calling thread, and the effect of a flood of retired objects.
struct RetireExperiment: Experiment {
  let name = ExperimentName.retire
  let hasPromises = true

  /// The number of retiring threads in the second part.
  private let many = 3

  let notes = [
    "Processor time of the retiring thread per call: it shares processors with others and the reclaimer.",
    "Each thread allocates its objects before the clock starts; the reclaimer frees them while the thread retires.",
    "The figure is the mean of all calls, ten million or more per thread; the median is of the rounds.",
    "`flood`: one producer allocates and retires, in wall-clock time. `peak_backlog` is the most that waited,",
    "`peak_bytes` the growth of the process; `released_per_s` is measured until all are freed.",
  ]

  func skipped(on machine: Machine) -> [String] {
    var sentences = Contender.missingPeers.filter { $0.hasPrefix("ck_epoch") }
    if machine.processors.count == 1 {
      sentences.append(
        "\(many) threads against 1, since there is one processor only: they never run at the same time.")
    }
    return sentences
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let count: UInt64 = scale.isQuick ? 100_000 : 1_000_000
    let rounds = scale.isQuick ? scale.rounds : max(scale.rounds, 10)
    let sizes = machine.processors.count > 1 ? [1, many] : [1]
    var teams: [Team] = []
    defer { for team in teams { team.dismiss() } }
    for contender in contenders {
      for size in sizes { teams.append(try Team(contender, size, on: machine.processors, count)) }
    }
    // The first round does not count: in it the thread touches its memory for the first time.
    for round in 0...rounds {
      for team in teams { try team.round(counts: round > 0) }
    }
    let rows = contenders.flatMap { contender in
      let rows = teams.filter { $0.contender.name == contender.name }.map { row($0) }
      if contender.isPeer { return rows }
      return rows.map { row in
        row.threads == 1
          ? row.limited(to: 20)
          // The row of one thread comes first.
          : row.compared(to: rows[0], as: "1 thread", wanted: 1.1)
      }
    }
    let names = Dictionary(uniqueKeysWithValues: contenders.map { ($0.name, "memb call_rcu, C") })
    if scale.promisedOnly { return rows.besideC(names) }
    let flood = BacklogMeasurement(experiment: name, count: scale.isQuick ? 200_000 : 2_000_000)
    return try rows.besideC(names)
      + flood.rows(on: machine, scale).besideC(
        ["Memb.retire(object)": "memb call_rcu, C", "RCUReclaimer, limit 10000, wait": "memb call_rcu, C"])
  }

  private func row(_ team: Team) -> Row {
    var row = Row(
      name, team.contender.name, threads: team.size, nanoseconds: team.times.mean, median: team.times.median,
      clock: .thread)
    row.sleeps = team.sleeps
    return row
  }

  /// Threads that retire at the same time.
  private final class Team {
    let contender: Retirer
    let size: Int
    private(set) var times = Rounds()
    private(set) var sleeps = 0
    private let crew: Crew<(time: UInt64, sleeps: UInt64)>
    private let retired = Counter()

    init(_ contender: Retirer, _ size: Int, on processors: [Int32], _ count: UInt64) throws {
      (self.contender, self.size, self.count) = (contender, size, count)
      let finished = Counter()
      crew = try Crew(size, on: processors) { [retired] _, start in
        contender.begin()
        defer { contender.end() }
        let batch = contender.make(count)
        start.wait()
        let sleeps = peer_thread_sleeps()
        let before = peer_thread_nanoseconds()
        batch.retire()
        let after = peer_thread_nanoseconds()
        let sleepsAfter = peer_thread_sleeps()
        retired.add(Int(count))
        // Keeps all threads busy until the last one is measured, so that each is measured beside
        // the stated number of threads.
        finished.add()
        while finished.value % size != 0 {
          let more = contender.make(1000)
          more.retire()
          more.free()
          retired.add(1000)
        }
        batch.free()
        return (after - before, sleepsAfter - sleeps)
      }
    }

    private let count: UInt64

    func round(counts: Bool) throws {
      let before = Int(peer_released_count()) - retired.value
      let results = try crew.round()
      contender.drain()
      if Int(peer_released_count()) - retired.value != before {
        throw MeasurementError("retire: \(contender.name) did not release what was retired.")
      }
      if !counts { return }
      times.add(results.reduce(0) { $0 + Double($1.time) } / Double(size) / Double(count))
      sleeps += results.reduce(0) { $0 + Int($1.sleeps) }
    }

    func dismiss() { crew.dismiss() }
  }
}

extension RetireExperiment {
  private struct Retirer: Sendable {
    let name: String
    /// Called on the thread that retires the batch.
    let make: @Sendable (UInt64) -> any Batch
    /// Waits until everything was released.
    let drain: @Sendable () -> Void
    /// Whether it is in C.
    var isPeer = false
    /// Called before and after everything that a thread does.
    var begin: @Sendable () -> Void = {}
    var end: @Sendable () -> Void = {}
  }

  private var contenders: [Retirer] {
    [
      Retirer(name: "Memb.retire(object)", make: Objects.init, drain: { Memb.barrier() }),
      Retirer(name: "Memb.unsafeRetire(pointer)", make: Pointers.init, drain: { Memb.barrier() }),
      Retirer(name: "QSBR.retire(object)", make: OnlineObjects.init, drain: { QSBR.barrier() }),
      Retirer(
        name: "memb call_rcu, C", make: { Nodes($0) }, drain: { peer_memb_barrier() }, isPeer: true,
        begin: { peer_call_rcu.begin() }, end: { peer_call_rcu.end() }),
    ]
  }
}

/// The objects that a thread retires in one round.
private protocol Batch {
  func retire()
  /// Frees the array that held the objects.
  func free()
}

private struct Objects: Batch {
  private let objects: UnsafeMutableBufferPointer<Small>

  init(_ count: UInt64) {
    objects = .allocate(capacity: Int(count))
    for index in objects.indices { objects.initializeElement(at: index, to: Small(UInt64(index))) }
  }

  @inline(never)
  func retire() {
    for index in objects.indices { Memb.retire(objects.moveElement(from: index)) }
  }

  func free() { objects.deallocate() }
}

private struct OnlineObjects: Batch {
  private let objects: UnsafeMutableBufferPointer<Small>

  init(_ count: UInt64) {
    objects = .allocate(capacity: Int(count))
    for index in objects.indices { objects.initializeElement(at: index, to: Small(UInt64(index))) }
  }

  @inline(never)
  func retire() {
    for index in objects.indices { QSBR.retire(objects.moveElement(from: index)) }
  }

  func free() { objects.deallocate() }
}

private struct Pointers: Batch {
  private let count: UInt64

  init(_ count: UInt64) {
    self.count = count
  }

  @inline(never)
  func retire() {
    for _ in 0..<count { Memb.unsafeRetire(nil) { _ in peer_count_released() } }
  }

  func free() {}
}

/// For liburcu's reclaimer.
private struct Nodes: Batch {
  private let nodes: UnsafeMutableBufferPointer<UnsafeMutableRawPointer?>

  init(_ count: UInt64) {
    nodes = .allocate(capacity: Int(count))
    for index in nodes.indices { nodes[index] = peer_retirable_make() }
  }

  func retire() { peer_call_rcu_all(nodes.baseAddress, UInt64(nodes.count)) }

  func free() { nodes.deallocate() }
}
