import CTorture
import Foundation
import Quiescence
import Synchronization

/// One thread that forks while everything goes on. The child has this thread alone; the readers of the others are
/// copies that nobody moves any more.
final class Forks<F: TortureFlavor> {
  private let scene: Scene<F>
  private let child: Child
  private var random: Random

  /// A child that takes longer hangs.
  private static var limitMilliseconds: Int32 { 5000 }

  init(_ scene: Scene<F>) {
    self.scene = scene
    child = Child()
    random = Random(seed: scene.options.seed, stream: 5000)
  }

  /// Until the run stops.
  func run() {
    // Once here: what the runtime sets up at the first time, under locks that another thread may hold at the fork,
    // is there by then.
    let status = child.run()
    if status != 0 { scene.failures.record(.forkFailures, "before the first fork: \(words(status))") }
    while !scene.isStopped {
      scene.rest(milliseconds: 50 + random.below(300))
      scene.gate.pass()
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
    // What the memory of the process looks like at the fork is not one moment's: only what nobody writes can be
    // checked in the child.
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

/// What C can call without knowing the flavor.
private class ForkedChild {
  static let torn: Int32 = 10
  static let unfinished: Int32 = 11

  /// Returns the exit status.
  func run() -> Int32 { 0 }
}
