import CPeers
import Quiescence

/// What a grace period costs, with threads registered that do nothing.
struct GracePeriodExperiment: Experiment {
  let name = ExperimentName.gracePeriod

  let notes = [
    "The clock on the wall, p50 of a round's calls on one pinned thread. Each side's idle threads are its own:",
    "liburcu's call rcu_register_thread, the library's have read once. `threads` is how many there are.",
  ]

  func skipped(on machine: Machine) -> [String] { [] }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    try (scale.isQuick ? [0, 1000] : [0, 10, 100, 1000]).flatMap { count in
      try rows(PinnedThreads(processors: machine.processors), idle: count, scale)
    }
  }

  private func rows(_ threads: PinnedThreads, idle count: Int, _ scale: Scale) throws -> [Row] {
    let calls = scale.isQuick ? 100 : 500
    var ours = Rounds()
    var theirs = Rounds()
    var onTheirs = Rounds()
    for _ in 0..<scale.rounds {
      do {
        let idle = try IdleThreads(
          count, enter: { peer_memb_register() }, leave: { peer_memb_unregister() })
        defer { idle.end() }
        theirs.add(try time(threads, calls) { peer_memb_synchronize() })
        onTheirs.add(try time(threads, calls) { Memb.synchronize() })
      }
      do {
        let idle = try IdleThreads(count, enter: { Memb.read { _ in } }, leave: {})
        defer { idle.end() }
        ours.add(try time(threads, calls) { Memb.synchronize() })
      }
    }
    let peer = row("memb synchronize_rcu, C", count, theirs)
    return [
      peer,
      row("Memb.synchronize()", count, ours)
        .compared(to: peer, as: peer.contender, wanted: count == 1000 ? 1.1 : nil),
      row("Memb.synchronize(), liburcu's threads", count, onTheirs).compared(to: peer, as: peer.contender),
    ]
  }

  private func row(_ contender: String, _ threads: Int, _ rounds: Rounds) -> Row {
    Row(name, contender, threads: threads, nanoseconds: rounds.best, median: rounds.median, clock: .wall)
  }

  /// The p50 of the calls.
  private func time(
    _ threads: PinnedThreads, _ calls: Int, _ call: @escaping @Sendable () -> Void
  ) throws -> Double {
    try threads.run(1) { _, _ in
      for _ in 0..<(calls / 10) { call() }
      return (0..<calls).map { _ in
        let before = peer_wall_nanoseconds()
        call()
        return Double(peer_wall_nanoseconds() - before)
      }.median
    }[0]
  }
}

/// Threads that are registered and asleep.
final class IdleThreads {
  private let gate = Gate()
  private var threads: [Thread] = []

  /// Returns when each of them has passed `enter`. `leave` runs on each at the end.
  init(_ count: Int, enter: @escaping @Sendable () -> Void, leave: @escaping @Sendable () -> Void) throws {
    let entered = Entered(count)
    do {
      for _ in 0..<count {
        threads.append(
          try Thread { [gate] in
            enter()
            entered.one()
            _ = gate.wait()
            leave()
          })
      }
    } catch {
      end()
      throw error
    }
    entered.wait()
  }

  func end() {
    gate.open()
    for thread in threads { thread.join() }
    threads = []
  }

  private final class Entered: Sendable {
    private let left: Counter
    private let gate = Gate()

    init(_ count: Int) {
      left = Counter(count)
      if count == 0 { gate.open() }
    }

    func one() { if left.add(-1) == 0 { gate.open() } }

    func wait() { _ = gate.wait() }
  }
}
