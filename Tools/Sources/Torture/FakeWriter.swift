import Quiescence

/// One thread that changes nothing and only waits for grace periods, so that everybody shares them with somebody.
final class FakeWriter<F: TortureFlavor> {
  private let scene: Scene<F>
  private let waiter: Int
  private let box = StampBox<F>()
  private var random: Random

  /// - Parameter waiter: Its number among all who wait.
  init(_ scene: Scene<F>, waiter: Int) {
    self.scene = scene
    self.waiter = waiter
    random = Random(seed: scene.options.seed, stream: 2000 + waiter)
  }

  /// Until the run stops.
  func run() {
    let ways: [Way] = [.synchronize, .synchronize, .asyncSynchronize, .poll, .pollWait, .asyncPoll]
    while !scene.isStopped {
      scene.wait(for: ways[random.below(ways.count)], as: waiter, box: box, random: &random)
      if random.oneIn(4) { sleep(microseconds: random.below(2000)) }
      scene.gate.pass()
    }
  }
}
