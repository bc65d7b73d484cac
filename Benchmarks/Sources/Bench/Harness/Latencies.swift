import CPeers

/// The wall-clock durations of consecutive calls.
struct Latencies: Sendable {
  private(set) var times: [Double] = []

  var p50: Double { times.median }

  var p99: Double { times.isEmpty ? .nan : times.sorted()[min(times.count - 1, times.count * 99 / 100)] }

  /// Measures at most `calls` calls, for about `limit` nanoseconds.
  @inline(__always)
  static func measured(_ calls: Int, within limit: UInt64, _ call: () -> Void) -> Latencies {
    var latencies = Latencies()
    let end = peer_wall_nanoseconds() + limit
    for _ in 0..<(calls / 10) where peer_wall_nanoseconds() < end { call() }
    latencies.times.reserveCapacity(calls)
    while latencies.times.count < calls {
      let before = peer_wall_nanoseconds()
      if before > end && !latencies.times.isEmpty { break }
      call()
      latencies.times.append(Double(peer_wall_nanoseconds() - before))
    }
    return latencies
  }

  /// The same in a task of the thread pool, like a server's.
  static func measured(
    _ calls: Int, within limit: UInt64, _ call: @escaping @Sendable () async -> Void
  ) async -> Latencies {
    await Task.detached {
      var latencies = Latencies()
      let end = peer_wall_nanoseconds() + limit
      for _ in 0..<(calls / 10) where peer_wall_nanoseconds() < end { await call() }
      latencies.times.reserveCapacity(calls)
      while latencies.times.count < calls {
        let before = peer_wall_nanoseconds()
        if before > end && !latencies.times.isEmpty { break }
        await call()
        latencies.times.append(Double(peer_wall_nanoseconds() - before))
      }
      return latencies
    }.value
  }
}

/// The latencies of several rounds.
struct LatencyRounds {
  private(set) var p50 = Rounds()
  private(set) var p99 = Rounds()

  mutating func add(_ latencies: Latencies) {
    p50.add(latencies.p50)
    p99.add(latencies.p99)
  }

  /// A row with the best p50 of the rounds, and the median of their p50.
  func row(_ experiment: ExperimentName, _ contender: String, threads: Int, _ parameter: Row.Parameter?)
    -> Row
  {
    var row = Row(
      experiment, contender, threads: threads, parameter, nanoseconds: p50.best, median: p50.median,
      clock: .wall)
    row.also["p99_ns"] = p99.median
    return row
  }
}
