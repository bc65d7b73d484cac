import CTorture
import Foundation
import Quiescence
import Synchronization

/// A thread that forks while the other threads run. The child contains only this thread; the
/// readers of the others are copies that never change.
final class Forks<F: TortureFlavor> {
  private let scene: Scene<F>
  private let child: Child
  private var random: Random

  /// A child that takes longer counts as hung.
  private static var limitMilliseconds: Int32 { 5000 }

  init(_ scene: Scene<F>) {
    self.scene = scene
    child = Child()
    random = Random(seed: scene.options.seed, stream: 5000)
  }

  /// Runs until the torture stops.
  func run() {
    // Once in this process: some things are initialized at their first use, under locks that
    // another thread could hold at the fork.
    let status = child.run()
    if status != 0 { scene.failures.record(.forkFailures, "before the first fork: \(words(status))") }
    while !scene.isStopped {
      scene.rest(milliseconds: 50 + random.below(300))
      scene.pausePoint.pass()
      if !scene.isStopped { fork() }
    }
  }

  private func fork() {
    let process = torture_fork(
      { child in
        // The argument of the call below, which is still on the stack.
        Unmanaged<ForkedChild>.fromOpaque(child!).takeUnretainedValue().run()
      }, Unmanaged<ForkedChild>.passUnretained(child).toOpaque())
    if process < 0 {
      return scene.failures.record(.forkFailures, "no child: \(String(cString: strerror(-process)))")
    }
    let status = torture_wait(process, Self.limitMilliseconds)
    if status != 0 { scene.failures.record(.forkFailures, words(status)) }
    scene.forks.add(1, ordering: .relaxed)
  }

  private func words(_ status: Int32) -> String {
    switch status {
    case -ETIMEDOUT: "a child had not ended after \(Self.limitMilliseconds / 1000) seconds"
    case ForkedChild.torn: "a child read what was never written"
    case ForkedChild.unfinished: "a child's barrier returned before its callbacks had run"
    case 129...: "a child was ended by signal \(status - 128)"
    default: "a child ended with status \(status)"
    }
  }

  private final class Child: ForkedChild, @unchecked Sendable {
    // At the fork, the memory of the process is not a consistent snapshot of what other threads are
    // writing. So the child checks only memory that no other thread writes.
    private let box = StampBox<F>()

    override func run() -> Int32 {
      let reader = ChildReader(box)
      F.round(of: reader)
      let ran = Counted()
      for _ in 0..<10 { F.retire { ran.value.add(1, ordering: .relaxed) } }
      F.synchronize()
      F.barrier()
      if ran.value.load(ordering: .relaxed) != 10 { return Self.unfinished }
      F.round(of: reader)
      return reader.isWhole ? 0 : Self.torn
    }
  }

  private final class Counted: Sendable {
    let value = Atomic<Int>(0)
  }

  private final class ChildReader: RoundReader {
    private let box: StampBox<F>
    private(set) var isWhole = true

    init(_ box: StampBox<F>) {
      self.box = box
    }

    func section() {
      F.read { _ in
        F.read { _ in
          if !box.box.read({ $0.isWhole }) { isWhole = false }
        }
      }
    }

    func pause() {}

    func below(_ bound: Int) -> Int { bound / 2 }
  }
}

/// A base class without the flavor's type, which a C function can call.
private class ForkedChild {
  static let torn: Int32 = 10
  static let unfinished: Int32 = 11

  /// Runs in the child. Returns its exit status.
  func run() -> Int32 { 0 }
}
