import CPeers
import Quiescence

/// What a call of `retire` costs the thread that calls it.
struct RetireExperiment: Experiment {
  let name = ExperimentName.retire

  /// Retiring threads of the second part.
  private let many = 3

  let notes = [
    "Processor time of the retiring thread a call: it shares the processors with the others and with the reclaimer.",
    "The thread has allocated its objects before the clock starts; the reclaimer frees them while it retires.",
    "Here a figure is the mean of all rounds: the backlog's memory is part of it, and a best round would hide that.",
  ]

  func skipped(on machine: Machine) -> [String] {
    machine.processors.count > 1
      ? [] : ["\(many) threads against 1, since there is one processor only: they never run at the same time."]
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let threads = PinnedThreads(processors: machine.processors)
    // Ten million calls of one thread, or more.
    let count: UInt64 = scale.isQuick ? 100_000 : 1_000_000
    let rounds = scale.isQuick ? scale.rounds : max(scale.rounds, 10)
    let crowds = machine.processors.count > 1 ? [1, many] : [1]
    var figures: [String: [Int: Figures]] = [:]
    for _ in 0..<rounds {
      for contender in contenders {
        for crowd in crowds {
          try figures[contender.name, default: [:]][crowd, default: Figures()]
            .add(time(contender, count, crowd, threads))
        }
      }
    }
    return contenders.flatMap { contender in
      // Both were filled by the loop above.
      let one = row(contender, 1, figures[contender.name]![1]!)
      var rows = [contender.limit.map(one.limited) ?? one]
      if let crowd = figures[contender.name]![many] {
        let row = row(contender, many, crowd)
        rows.append(row.compared(to: one, as: "1 thread", wanted: contender.limit == nil ? nil : 1.1))
      }
      return rows
    }
  }

  private func row(_ contender: Contender, _ threads: Int, _ figures: Figures) -> Row {
    var row = Row(
      name, contender.name, threads: threads, nanoseconds: figures.times.mean, median: figures.times.median,
      clock: .thread)
    row.sleeps = figures.sleeps
    return row
  }

  private struct Figures {
    var times = Rounds()
    var sleeps = 0

    mutating func add(_ one: (nanoseconds: Double, sleeps: Int)) {
      times.add(one.nanoseconds)
      sleeps += one.sleeps
    }
  }

  /// The mean of the threads.
  private func time(
    _ contender: Contender, _ count: UInt64, _ threadCount: Int, _ threads: PinnedThreads
  ) throws -> (nanoseconds: Double, sleeps: Int) {
    let before = peer_released_count()
    let finished = Counter()
    let extra = Counter()
    let times = try threads.run(threadCount) { _, start -> (time: UInt64, sleeps: UInt64) in
      let batch = contender.make(count)
      start.wait()
      let sleeps = peer_thread_sleeps()
      let before = peer_thread_nanoseconds()
      batch.retire()
      let after = peer_thread_nanoseconds()
      let sleepsAfter = peer_thread_sleeps()
      // Nobody is measured beside fewer threads than it says.
      finished.add()
      while finished.value < threadCount {
        let more = contender.make(1000)
        more.retire()
        more.free()
        extra.add(1000)
      }
      batch.free()
      return (after - before, sleepsAfter - sleeps)
    }
    contender.drain()
    let expected = Int(count) * threadCount + extra.value
    if Int(peer_released_count() - before) != expected {
      throw MeasurementError("retire: \(contender.name) did not release everything that was retired.")
    }
    let mean = times.reduce(0) { $0 + Double($1.time) } / Double(threadCount) / Double(count)
    return (mean, times.reduce(0) { $0 + Int($1.sleeps) })
  }
}

extension RetireExperiment {
  private struct Contender: Sendable {
    let name: String
    /// On the thread that retires them.
    let make: @Sendable (UInt64) -> any Batch
    /// Waits until everything has been released.
    let drain: @Sendable () -> Void
    var limit: Double?
  }

  private var contenders: [Contender] {
    [
      Contender(name: "Memb.retire(object)", make: Objects.init, drain: { Memb.barrier() }, limit: 20),
      Contender(name: "Memb.unsafeRetire(pointer)", make: Pointers.init, drain: { Memb.barrier() }, limit: 20),
      Contender(name: "QSBR.retire(object)", make: OnlineObjects.init, drain: { QSBR.barrier() }, limit: 20),
    ]
  }
}

/// What a thread retires in one go.
private protocol Batch {
  func retire()
  /// Frees what was only needed to hold the objects.
  func free()
}

/// A small object. Counts when it goes.
private final class Small: Sendable {
  let number: UInt64

  init(_ number: UInt64) {
    self.number = number
  }

  deinit { peer_count_released() }
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
