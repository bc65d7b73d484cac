import Quiescence
import Synchronization

/// A thread that sometimes retires so many callbacks at once that the reclaimer falls far behind,
/// and then waits for all of them.
final class Flood<F: TortureFlavor> {
  private let scene: Scene<F>
  private let waiter: Int
  private let entries: [ChainedEntry<F>]
  private var random: Random
  private var count = 0

  init(_ scene: Scene<F>, waiter: Int) {
    self.scene = scene
    self.waiter = waiter
    entries = (0..<scene.options.floodSize).map { _ in ChainedEntry(ledger: scene.ledger) }
    random = Random(seed: scene.options.seed, stream: 3000)
  }

  /// Runs until the torture stops.
  func run() {
    while !scene.isStopped {
      burst()
      scene.rest(milliseconds: 500 + random.below(1500))
      scene.pausePoint.pass()
    }
  }

  private func burst() {
    let start = ContinuousClock.now
    if random.oneIn(2) {
      post(entries[...], random.next())
    } else {
      postFromThreads(4)
    }
    let way: Way = count % 2 == 0 ? .barrier : .asyncBarrier
    let isAsync = way == .asyncBarrier
    scene.watch(waiter, way) {
      if isAsync { blockOn { await F.barrier() } } else { F.barrier() }
    }
    let left = entries.count { $0.isBusy }
    scene.failures.record(
      .barrierErrors, count: left,
      "\(way.words) returned while \(left) of \(entries.count) callbacks had not run")
    let microseconds = Int((ContinuousClock.now - start) / .microseconds(1))
    scene.longestFloodMicroseconds.max(microseconds, ordering: .relaxed)
    scene.floods.add(1, ordering: .relaxed)
    count += 1
  }

  /// Retires from threads that end while their callbacks have not run. A barrier that starts after
  /// their end must wait for these callbacks.
  private func postFromThreads(_ count: Int) {
    let share = entries.count / count
    let threads = (0..<count).compactMap { index in
      let part = entries[(index * share)..<(index == count - 1 ? entries.count : (index + 1) * share)]
      let seed = random.next()
      let thread = try? TortureThread { Self.post(part, seed) }
      // The system has no more threads: retire on this thread.
      if thread == nil { post(part, seed) }
      return thread
    }
    for thread in threads { thread.join() }
  }

  private func post(_ part: ArraySlice<ChainedEntry<F>>, _ seed: UInt64) { Self.post(part, seed) }

  private static func post(_ part: ArraySlice<ChainedEntry<F>>, _ seed: UInt64) {
    var choice = seed
    for (number, entry) in part.enumerated() {
      choice = mix(choice &+ 1)
      // A few callbacks retire themselves again, and a few compare with a polled grace period.
      let links = choice >> 32 & 0xff == 0 ? 3 : 0
      entry.post(
        as: RetireKind.allCases[number % 3], choosing: choice, links: links, polls: choice >> 40 & 0xff == 0)
    }
  }
}
