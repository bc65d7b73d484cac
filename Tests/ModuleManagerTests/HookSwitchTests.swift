import Quiescence
import TestSupport
import Testing

@testable import ModuleManager

/// Hooks that take the places of others, in one publication a hook point.
@Suite(.exclusive, .timeLimit(.minutes(10))) struct HookSwitchTests {
  typealias Point = HookPoint<[Int], Memb>

  private static func point() -> Point { HookPoint("point", argumentType: "array.1", flavor: Memb.self) }

  /// A hook that adds `number` to the argument.
  private static func hook(_ number: Int, priority: Int = 0) -> UnlinkedHook {
    let closure = Point.closure { argument in
      argument.append(number)
      return .accept
    }
    return UnlinkedHook(function: closure.function, closure: closure, gate: nil, priority: priority)
  }

  private static func link(_ hook: UnlinkedHook, to point: Point) -> UInt64 {
    point.link(hook.function, closure: hook.closure, gate: nil, priority: hook.priority, as: nil)
  }

  private static func numbers(_ point: Point) -> [Int] {
    var argument: [Int] = []
    let called = point.dispatch(&argument).called
    return called == argument.count ? argument : [-1]
  }

  @Test func newHookTakesThePlaceOfAnOldOneOfItsPriority() async {
    let point = Self.point()
    for number in [1, 2] { _ = Self.link(Self.hook(number), to: point) }
    var old = [Self.link(Self.hook(10), to: point), Self.link(Self.hook(11, priority: 5), to: point)]
    _ = Self.link(Self.hook(3), to: point)
    old.append(Self.link(Self.hook(12), to: point))
    _ = Self.link(Self.hook(4), to: point)
    #expect(Self.numbers(point) == [1, 2, 10, 3, 12, 4, 11])
    // Two of one priority in their order; one of another priority; and one more.
    let new = point.replace(
      old, with: [20, 21, 22].map { Self.hook($0) } + [Self.hook(23, priority: -1)])
    #expect(Self.numbers(point) == [23, 1, 2, 20, 3, 21, 4, 22])
    #expect(Set(new).count == 4)
    #expect(point.replace(new, with: []).isEmpty)
    #expect(Self.numbers(point) == [1, 2, 3, 4])
    #expect(point.replace([], with: [Self.hook(30)]).count == 1)
    #expect(Self.numbers(point) == [1, 2, 3, 4, 30])
    for id in old where point.unlink(id) { Issue.record("hook \(id) was there") }
    await Memb.barrier()
  }

  @Test func replacedHookIsFreedAfterAGracePeriod() async {
    let alive = Counter()
    let point = Self.point()
    let id: UInt64
    do {
      let tracked = Tracked(7, alive: alive)
      let closure = Point.closure { argument in
        argument.append(tracked.value)
        return .accept
      }
      let hook = UnlinkedHook(function: closure.function, closure: closure, gate: nil, priority: 0)
      id = Self.link(hook, to: point)
    }
    #expect(Self.numbers(point) == [7])
    _ = point.replace([id], with: [Self.hook(8)])
    #expect(Self.numbers(point) == [8])
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  /// How a hook is exchanged; all but the first are mutants.
  enum Exchange: CaseIterable {
    case atOnce, unlinkFirst, linkFirst, atTheEnd
  }

  /// Rounds meet one version, in its place, whatever the writer is at.
  @Test func eachRoundMeetsOneVersion() async {
    let wrong = await Self.race(.atOnce, until: { rounds, _ in rounds >= 200_000 })
    #expect(wrong == 0)
  }

  /// The mutants are caught by the same rounds.
  @Test(arguments: Exchange.allCases.dropFirst())
  func exchangeInTwoStepsIsCaught(_ exchange: Exchange) async {
    let wrong = await Self.race(exchange, until: { _, wrong in wrong > 0 })
    #expect(wrong > 0)
  }

  /// One thread exchanges a hook that stands between two others; two call. Returns how many rounds
  /// were wrong.
  private static func race(
    _ exchange: Exchange, until isOver: @escaping @Sendable (_ rounds: Int, _ wrong: Int) -> Bool
  ) async -> Int {
    let point = point()
    _ = link(hook(-1), to: point)
    let first = link(hook(0), to: point)
    _ = link(hook(-2), to: point)
    let (rounds, wrong) = (Counter(), Counter())
    await onThreads(3) { index in
      if index > 0 {
        while !isOver(rounds.value, wrong.value) {
          let numbers = numbers(point)
          let isRight = numbers.count == 3 && numbers.first == -1 && numbers.last == -2 && numbers[1] >= 0
          if !isRight { wrong.add(1) }
          rounds.add(1)
        }
        return
      }
      var (id, number) = (first, 0)
      while !isOver(rounds.value, wrong.value) {
        number += 1
        let next = hook(number)
        switch exchange {
        case .atOnce: id = point.replace([id], with: [next])[0]
        case .unlinkFirst:
          point.unlink(id)
          _ = point.link(next.function, closure: next.closure, gate: nil, priority: 0, as: id)
        case .linkFirst:
          let added = point.link(next.function, closure: next.closure, gate: nil, priority: 0, as: nil)
          point.unlink(id)
          id = added
        case .atTheEnd:
          let added = point.replace([id], with: [])
          precondition(added.isEmpty)
          id = point.replace([], with: [next])[0]
        }
      }
    }
    await Memb.barrier()
    return wrong.value
  }
}
