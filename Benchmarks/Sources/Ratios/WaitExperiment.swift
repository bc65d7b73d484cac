import CPeers
import Quiescence

/// How long somebody waits who does not block a thread of their own, and how long for a barrier.
struct WaitExperiment: Experiment {
  let name = ExperimentName.wait

  /// Registered readers that do nothing meanwhile.
  private let idle = 4

  let notes = [
    "The clock on the wall, p50 of a round's calls one after the other; the median of the rounds is judged.",
    "`threads` is how many readers are registered and idle. Tasks run where the system puts them: not pinned.",
  ]

  func skipped(on machine: Machine) -> [String] { [] }

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let idleThreads = try IdleThreads(idle, enter: { Memb.read { _ in } }, leave: {})
    defer { idleThreads.end() }
    let threads = PinnedThreads(processors: machine.processors)
    // Each of these takes 10 ms.
    let slowCalls = scale.isQuick ? 3 : 10
    let calls = scale.isQuick ? 200 : 1000
    var asyncSynchronize = Rounds()
    var asyncBarrier = Rounds()
    var barrier = Rounds()
    var callRCU = Rounds()
    var barrierRCU = Rounds()
    for _ in 0..<scale.rounds {
      asyncSynchronize.add(await median(calls) { await Memb.synchronize() })
      asyncBarrier.add(await median(calls) { await Memb.barrier() })
      barrier.add(try median(threads, calls) { Memb.barrier() })
      callRCU.add(try median(threads, slowCalls) { peer_memb_call_and_wait() })
      barrierRCU.add(try median(threads, slowCalls) { peer_memb_barrier() })
    }
    let call = row("memb call_rcu to its callback, C", callRCU)
    let empty = row("memb rcu_barrier, empty, C", barrierRCU)
    return [
      call,
      row("await Memb.synchronize()", asyncSynchronize).compared(to: call, as: call.contender)
        .limited(to: 50_000),
      empty,
      row("await Memb.barrier(), empty", asyncBarrier).compared(to: empty, as: empty.contender)
        .limited(to: 100_000),
      row("Memb.barrier(), empty", barrier).compared(to: empty, as: empty.contender).limited(to: 100_000),
    ]
  }

  private func row(_ contender: String, _ rounds: Rounds) -> Row {
    Row(name, contender, threads: idle, nanoseconds: rounds.median, median: rounds.median, clock: .wall)
  }

  private func median(_ calls: Int, _ call: @escaping @Sendable () async -> Void) async -> Double {
    // A task of the pool, as a server's are.
    await Task.detached {
      for _ in 0..<(calls / 10) { await call() }
      var times: [Double] = []
      times.reserveCapacity(calls)
      for _ in 0..<calls {
        let before = peer_wall_nanoseconds()
        await call()
        times.append(Double(peer_wall_nanoseconds() - before))
      }
      return times.median
    }.value
  }

  private func median(
    _ threads: PinnedThreads, _ calls: Int, _ call: @escaping @Sendable () -> Void
  ) throws -> Double {
    try threads.run(1) { _, _ in
      // For call_rcu, which asks for it.
      peer_memb_register()
      defer { peer_memb_unregister() }
      for _ in 0..<(calls / 10) { call() }
      return (0..<calls).map { _ in
        let before = peer_wall_nanoseconds()
        call()
        return Double(peer_wall_nanoseconds() - before)
      }.median
    }[0]
  }
}
