import Quiescence
import Synchronization

/// A thread that now and then stops all threads and resumes them at once, and moves them between
/// processors.
final class SchedulingNoise<F: TortureFlavor> {
  private let scene: Scene<F>
  private var random: Random

  init(_ scene: Scene<F>) {
    self.scene = scene
    random = Random(seed: scene.options.seed, stream: 6000)
  }

  /// Runs until the torture stops.
  func run() {
    let phases = scene.options.phases
    while !scene.isStopped {
      scene.rest(milliseconds: 100 + random.below(400))
      if phases.contains(.stutter) && random.oneIn(2) { stutter() }
      if phases.contains(.shuffle) { scene.moves.add(scene.affinity.shuffle(&random), ordering: .relaxed) }
    }
  }

  private func stutter() {
    scene.pausePoint.close()
    sleep(microseconds: 1000 * (5 + random.below(50)))
    scene.pausePoint.open()
    scene.stutters.add(1, ordering: .relaxed)
  }
}

extension Scene {
  /// Sleeps for this long, or until the torture stops.
  func rest(milliseconds: Int) {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while !isStopped && ContinuousClock.now < end { sleep(microseconds: 5000) }
  }
}
