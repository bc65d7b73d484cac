import CPeers
import Quiescence

/// One producer that allocates and retires as fast as it can: the cost per object, the largest
/// backlog, and the memory that it takes.
struct BacklogMeasurement {
  let experiment: ExperimentName
  let count: Int

  func rows(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let producers = self.producers
    var rounds = producers.map { _ in Rounds() }
    var released = producers.map { _ in Rounds() }
    var backlog = producers.map { _ in 0.0 }
    var bytes = producers.map { _ in 0.0 }
    for _ in 0..<scale.fewRounds {
      for (index, producer) in producers.enumerated() {
        let threads = PinnedThreads(processors: machine.processors)
        let result = try threads.run(1) { _, _ in produce(producer) }[0]
        if result.left != 0 {
          throw MeasurementError("retire: \(producer.name) did not release what was retired.")
        }
        rounds[index].add(result.nanoseconds)
        released[index].add(result.releasedPerSecond)
        backlog[index] = max(backlog[index], result.backlog)
        bytes[index] = max(bytes[index], result.bytes)
      }
    }
    return producers.indices.map { index in
      var row = Row(
        experiment, producers[index].name, threads: 1, Row.Parameter("flood", Double(count)),
        nanoseconds: rounds[index].best, median: rounds[index].median, clock: .wall)
      row.also = [
        "released_per_s": released[index].median, "peak_backlog": backlog[index], "peak_bytes": bytes[index],
      ]
      return row
    }
  }

  private struct Result: Sendable {
    let nanoseconds: Double
    let releasedPerSecond: Double
    let backlog: Double
    let bytes: Double
    let left: Int
  }

  /// Runs on the producing thread.
  private func produce(_ producer: Producer) -> Result {
    producer.begin()
    defer { producer.end() }
    peer_trim()
    let releasedBefore = peer_released_count()
    let bytesBefore = Int(peer_resident_bytes())
    var backlog = 0
    var bytes = 0
    let before = peer_wall_nanoseconds()
    for index in 1...count {
      producer.produce()
      if index % 1024 != 0 { continue }
      backlog = max(backlog, index - Int(peer_released_count() - releasedBefore))
      if index % (16 * 1024) == 0 { bytes = max(bytes, Int(peer_resident_bytes()) - bytesBefore) }
    }
    let produced = peer_wall_nanoseconds()
    producer.drain()
    let drained = peer_wall_nanoseconds()
    return Result(
      nanoseconds: Double(produced - before) / Double(count),
      releasedPerSecond: Double(count) / Double(drained - before) * 1e9,
      backlog: Double(backlog), bytes: Double(bytes),
      left: count - Int(peer_released_count() - releasedBefore))
  }

  private struct Producer: Sendable {
    let name: String
    var begin: @Sendable () -> Void = {}
    var end: @Sendable () -> Void = {}
    let produce: @Sendable () -> Void
    let drain: @Sendable () -> Void
  }

  private var producers: [Producer] {
    let limited = RCUReclaimer(named: "bench", Memb.self, limit: RetireLimit(10_000, .wait))
    let ours = [
      Producer(
        name: "Memb.retire(object)", produce: { Memb.retire(Small(1)) }, drain: { Memb.barrier() }),
      Producer(
        name: "RCUReclaimer, limit 10000, wait", produce: { limited.retire(Small(1)) },
        drain: { limited.barrier() }),
    ]
    let peers = [peer_call_rcu, peer_defer_rcu, peer_epoch_call].compactMap { peer -> Producer? in
      guard let begin = peer.begin, let end = peer.end, let retire = peer.retire, let drain = peer.drain
      else { return nil }
      return Producer(
        name: String(cString: peer.name), begin: { begin() }, end: { end() },
        produce: { retire(peer_retirable_make()) }, drain: { drain() })
    }
    return ours + peers
  }
}

/// A small object that counts its release.
final class Small: Sendable {
  let number: UInt64

  init(_ number: UInt64) {
    self.number = number
  }

  deinit { peer_count_released() }
}
