import Quiescence
import Synchronization
import TestSupport
import Testing

/// Pipe ageing, after the kernel's rcutorture: a writer replaces an element, and every grace period
/// makes the replaced ones a step older. A reader that sees an element turn two steps old inside
/// one section has been overtaken by a grace period that should have waited for it.
@Suite(.exclusive) struct TortureTests {
  @Test(arguments: FlavorCase.anywhere)
  func gracePeriodsWaitForReaders(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> (overtaken: Int, aged: Int) {
      await torture(F.self, rounds: F.self == Bulletproof.self ? 200 : 3000) { body in F.read { _ in body() }
      }
    }
    let result = await run(flavor.type)
    #expect(result.overtaken == 0)
    #expect(result.aged > 0, "no reader ever met a replaced element: the test showed nothing")
  }

  @Test func qsbrGracePeriodsWaitForReaders() async {
    let result = await torture(QSBR.self) { body in
      QSBR.withOnlineReader { reader in
        for _ in 0..<10 {
          body()
          reader.quiescentState()
        }
      }
    }
    #expect(result.overtaken == 0)
    #expect(result.aged > 0, "no reader ever met a replaced element: the test showed nothing")
  }

  /// The mutant: grace periods that do not wait. The same torture must find it out.
  @Test func brokenFlavorIsCaught() async {
    let result = await torture(Busted.self) { body in Busted.read { _ in body() } }
    #expect(result.overtaken > 0)
  }

  private enum Busted: Flavor {
    static func unsafeEnter() { Memb.unsafeEnter() }
    static func unsafeLeave(_: Void) { Memb.unsafeLeave() }
    static var isInside: Bool { Memb.isInside }
    static func unsafeSynchronize() {}
    static let domain = FlavorDomain(of: Busted.self, named: "busted")
  }

  private final class Element: Sendable {
    let age = Atomic<Int>(0)
  }

  private func torture<F: Flavor>(
    _ flavor: F.Type, rounds: Int = 3000, reader: @escaping @Sendable (() -> Void) -> Void
  ) async -> (overtaken: Int, aged: Int) {
    // The elements are never freed, so that a broken flavor gives a wrong age and not a crash.
    let elements = (0..<10).map { _ in Element() }
    let current = Shared(Atomic<Int>(0))
    let overtaken = Counter()
    let aged = Counter()
    let done = Counter()
    await onThreads(4) { index in
      if index == 0 {
        var pipe: [Int] = []
        var round = 0
        // Until every round was made and a reader has met a replaced element, or been overtaken.
        while round < rounds || (aged.value == 0 && overtaken.value == 0) {
          round += 1
          let old = current.value.load(ordering: .relaxed)
          // One that is in no reader's hands: it is as old as the pipe is long.
          guard let next = elements.indices.first(where: { $0 != old && !pipe.contains($0) }) else { break }
          elements[next].age.store(0, ordering: .relaxed)
          current.value.store(next, ordering: .releasing)
          pipe.append(old)
          elements[old].age.store(1, ordering: .releasing)
          F.synchronize()
          for index in pipe where index != old { elements[index].age.add(1, ordering: .releasing) }
          elements[old].age.store(2, ordering: .releasing)
          if pipe.count > 5 { pipe.removeFirst() }
        }
        done.add(1)
      } else if index == 1 {
        // A second writer: grace periods are shared, and the first must not get one that began too
        // early.
        while done.value == 0 { F.synchronize() }
      } else {
        var seed = UInt64(index)
        while done.value == 0 {
          reader {
            let element = elements[current.value.load(ordering: .acquiring)]
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // Short sections, long ones, and some that give the processor away.
            for _ in 0..<(seed >> 58) { Processor.yield() }
            switch element.age.load(ordering: .acquiring) {
            case 0: break
            case 1: aged.add(1)
            default: overtaken.add(1)
            }
          }
        }
      }
    }
    return (overtaken.value, aged.value)
  }
}
