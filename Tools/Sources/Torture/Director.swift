import Quiescence
import Synchronization

/// One thread that stops everybody now and then, lets all go at once, and moves them between processors.
final class Director<F: TortureFlavor> {
  private let scene: Scene<F>
  private var random: Random

  init(_ scene: Scene<F>) {
    self.scene = scene
    random = Random(seed: scene.options.seed, stream: 6000)
  }

  /// Until the run stops.
  func run() {
    let phases = scene.options.phases
    while !scene.isStopped {
      scene.rest(milliseconds: 100 + random.below(400))
      if phases.contains(.stutter) && random.oneIn(2) { stutter() }
      if phases.contains(.shuffle) { scene.moves.add(scene.affinity.shuffle(&random), ordering: .relaxed) }
    }
  }

  private func stutter() {
    scene.gate.close()
    sleep(microseconds: 1000 * (5 + random.below(50)))
    scene.gate.open()
    scene.stutters.add(1, ordering: .relaxed)
  }
}

extension Scene {
  /// Sleeps for so long, or until the run stops.
  func rest(milliseconds: Int) {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while !isStopped && ContinuousClock.now < end { sleep(microseconds: 5000) }
  }
}
