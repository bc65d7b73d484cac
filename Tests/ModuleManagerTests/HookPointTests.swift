import ModuleManager
import Quiescence
import TestSupport
import Testing

@Suite struct HookPointTests {
  private func point() -> HookPoint<[Int], Memb> {
    HookPoint("point", argumentType: "array.1", flavor: Memb.self)
  }

  @Test func emptyHookPointAccepts() {
    var argument: [Int] = []
    let result = point().dispatch(&argument)
    #expect(result.verdict == .accept)
    #expect(result.called == 0)
  }

  @Test func hooksRunByPriorityThenByRegistration() {
    let point = point()
    for (priority, number) in [(5, 1), (-1, 2), (5, 3), (0, 4)] {
      _ = point.register(priority: priority) { argument in
        argument.append(number)
        return .accept
      }
    }
    var argument: [Int] = []
    #expect(point.dispatch(&argument).called == 4)
    #expect(argument == [2, 4, 1, 3])
  }

  @Test func firstHookThatDoesNotAcceptEndsTheRound() {
    let point = point()
    _ = point.register { _ in .accept }
    _ = point.register { _ in .stolen }
    _ = point.register { argument in
      argument.append(1)
      return .accept
    }
    var argument: [Int] = []
    let result = point.dispatch(&argument)
    #expect(result.verdict == .stolen)
    #expect(result.called == 2)
    #expect(argument.isEmpty)
  }

  @Test func resultsPrintAsWords() {
    let point = point()
    var argument: [Int] = []
    #expect("\(point.dispatch(&argument))" == "accept by no hook")
    _ = point.register { _ in .accept }
    #expect("\(point.dispatch(&argument))" == "accept by 1 hook")
    _ = point.register { _ in .accept }
    #expect("\(point.dispatch(&argument))" == "accept by 2 hooks")
    _ = point.register { _ in .drop }
    #expect("\(point.dispatch(&argument))" == "drop by hook 3")
    #expect("\(Verdict.stolen) \(Verdict(rawValue: 7))" == "stolen verdict 7")
  }

  @Test func unregisterIsIdempotentAndFreesTheClosure() async {
    let alive = Counter()
    let point = point()
    do {
      let tracked = Tracked(7, alive: alive)
      let registration = point.register { argument in
        argument.append(tracked.value)
        return .accept
      }
      var argument: [Int] = []
      _ = point.dispatch(&argument)
      #expect(argument == [7])
      registration.unregister()
      registration.unregister()
      #expect(point.dispatch(&argument).called == 0)
    }
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  @Test func droppedRegistrationKeepsItsHook() {
    let point = point()
    _ = point.register { _ in .drop }
    var argument: [Int] = []
    #expect(point.dispatch(&argument).verdict == .drop)
  }

  @Test func onlineReadersDispatchWithoutASection() async {
    let result = await onThread {
      let point = HookPoint<Int, QSBR>("point", argumentType: "int.1", flavor: QSBR.self)
      _ = point.register { argument in
        argument += 1
        return .accept
      }
      return QSBR.withOnlineReader { reader in
        var argument = 1
        let first = point.dispatch(&argument, in: reader)
        reader.quiescentState()
        let second = point.dispatch(&argument)
        return argument * 10 + first.called + second.called
      }
    }
    #expect(result == 32)
  }

  @Test(.exclusive) func registrationRacesWithDispatch() async {
    let point = point()
    let calls = Counter()
    let wrong = Counter()
    await onThreads(3) { index in
      if index == 0 {
        while calls.value < 20_000 {
          let first = point.register { argument in
            argument.append(1)
            return .accept
          }
          let second = point.register(priority: 1) { argument in
            argument.append(2)
            return .accept
          }
          first.unregister()
          second.unregister()
        }
      } else {
        while calls.value < 20_000 {
          var argument: [Int] = []
          calls.add(point.dispatch(&argument).called)
          if argument != [] && argument != [1] && argument != [1, 2] && argument != [2] { wrong.add(1) }
          if argument.isEmpty { calls.add(1) }
        }
      }
    }
    #expect(wrong.value == 0)
    await Memb.barrier()
  }
}
