import Quiescence
import Synchronization

/// One thread that now and then retires so much at once that the reclaimer is far behind, and then wants all of it done.
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

  /// Until the run stops.
  func run() {
    while !scene.isStopped {
      burst()
      scene.rest(milliseconds: 500 + random.below(1500))
      scene.gate.pass()
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

  /// From threads that end with what they retired still before them: a barrier that comes after their end counts it.
  private func postFromThreads(_ count: Int) {
    let share = entries.count / count
    let threads = (0..<count).compactMap { index in
      let part = entries[(index * share)..<(index == count - 1 ? entries.count : (index + 1) * share)]
      let seed = random.next()
      let thread = try? TortureThread { Self.post(part, seed) }
      // No more threads to be had: this one does it.
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
      // A few retire themselves again, a few have a polled grace period to compare with.
      let links = choice >> 32 & 0xff == 0 ? 3 : 0
      entry.post(
        as: RetireKind.allCases[number % 3], choosing: choice, links: links, polls: choice >> 40 & 0xff == 0)
    }
  }
}
