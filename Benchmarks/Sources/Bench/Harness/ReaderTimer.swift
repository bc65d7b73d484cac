import CPeers
import Synchronization

/// Times readers that start together and stay busy until the last one has finished.
struct ReaderTimer {
  let experiment: ExperimentName
  let threads: PinnedThreads

  init(_ experiment: ExperimentName, on machine: Machine) {
    self.experiment = experiment
    threads = PinnedThreads(processors: machine.processors)
  }

  /// The nanoseconds per read, as the mean of the threads, for `count` reads on each of `readers`
  /// threads.
  func time(
    _ contender: Contender, _ count: UInt64, readers: Int,
    _ read: @escaping @Sendable (_ count: UInt64) -> UInt64
  ) throws -> Double {
    let finished = Counter()
    // The cost of readers that sleep or wait for each other shows only in wall-clock time. In it,
    // readers on the same processor take each other's time, so scale by the share of the
    // processors.
    let now = contender.blocks ? peer_wall_nanoseconds : peer_thread_nanoseconds
    let share = contender.blocks ? min(1, Double(threads.processors.count) / Double(readers)) : 1
    let number = contender.number
    let times = try threads.run(readers) { _, start -> Double? in
      contender.begin()
      start.wait()
      var isRight = read(count / 8) == count / 8 * number
      let before = now()
      isRight = read(count) == count * number && isRight
      let after = now()
      // Keeps reading until the last thread is measured, so that no thread is measured on a
      // processor that others have left.
      finished.add()
      while finished.value < readers { isRight = read(count / 64) == count / 64 * number && isRight }
      contender.end()
      return isRight ? Double(after - before) / Double(count) : nil
    }
    let right = times.compactMap { $0 }
    if right.count < times.count {
      throw MeasurementError(
        "\(experiment.rawValue): the sum of \(contender.name) is wrong: it did not do its loads.")
    }
    return right.reduce(0, +) / Double(right.count) * share
  }

  /// How many reads take about this many nanoseconds, from a first run that is not counted.
  func size(
    _ contender: Contender, nanoseconds: Double, readers: Int,
    _ read: @escaping @Sendable (_ count: UInt64) -> UInt64
  ) throws -> UInt64 {
    var count: UInt64 = 64
    while true {
      let figure = try time(contender, count, readers: readers, read)
      if figure * Double(count) > nanoseconds / 16 || count > 1 << 40 {
        return UInt64(max(64, nanoseconds / max(figure, 0.05)))
      }
      count *= 8
    }
  }
}

/// A number that threads change atomically.
final class Counter: Sendable {
  private let count: Atomic<Int>

  init(_ initial: Int = 0) {
    count = Atomic(initial)
  }

  var value: Int { count.load(ordering: .acquiring) }

  @discardableResult
  func add(_ difference: Int = 1) -> Int { count.add(difference, ordering: .acquiringAndReleasing).newValue }
}
