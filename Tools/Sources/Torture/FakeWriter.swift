import Quiescence

/// A thread that changes nothing and only waits for grace periods, so that waits share grace
/// periods.
final class FakeWriter<F: TortureFlavor> {
  private let scene: Scene<F>
  private let waiter: Int
  private let box = StampBox<F>()
  private var random: Random

  /// - Parameter waiter: The thread's index among all waiters.
  init(_ scene: Scene<F>, waiter: Int) {
    self.scene = scene
    self.waiter = waiter
    random = Random(seed: scene.options.seed, stream: 2000 + waiter)
  }

  /// Runs until the torture stops.
  func run() {
    let ways: [Way] = [.synchronize, .synchronize, .asyncSynchronize, .poll, .pollWait, .asyncPoll]
    while !scene.isStopped {
      scene.wait(for: ways[random.below(ways.count)], as: waiter, box: box, random: &random)
      if random.oneIn(4) { sleep(microseconds: random.below(2000)) }
      scene.pausePoint.pass()
    }
  }
}
