import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules come and go while threads call them without counting anything.
@Suite(.exclusive) struct TrafficTests {
  typealias Argument = SampleModules.Argument

  @Test func unloadUnderTraffic() async throws {
    let manager = ModuleManager()
    let memb = HookPoint<Argument, Memb>(
      "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
    manager.provide(memb)
    let wrong = await Self.run(manager) { done, wrong in Self.call(memb, done, wrong) }
    #expect(wrong == 0)
  }

  @Test func unloadUnderTrafficOfOnlineReaders() async throws {
    let manager = ModuleManager()
    let fast = HookPoint<Argument, QSBR>(
      "point", argumentType: SampleModules.argumentType, flavor: QSBR.self)
    manager.provide(fast)
    let wrong = await Self.run(manager) { done, wrong in
      QSBR.withOnlineReader { reader in
        while done.value == 0 {
          for _ in 0..<64 {
            var argument = Argument()
            let result = fast.dispatch(&argument, in: reader)
            if !Self.isRight(argument, result) { wrong.add(1) }
          }
          reader.quiescentState()
        }
      }
    }
    #expect(wrong == 0)
  }

  /// The mutant: the same unload, on a flavor whose sections protect nothing and whose grace
  /// periods wait for no reader.
  @Test func withoutAGracePeriodTheProcessDies() async {
    await #expect(processExitsWith: .failure) {
      let manager = ModuleManager()
      let point = HookPoint<Argument, Unprotected>(
        "point", argumentType: SampleModules.argumentType, flavor: Unprotected.self)
      manager.provide(point)
      for _ in 0..<100 {
        let wrong = await Self.run(manager) { done, wrong in Self.call(point, done, wrong) }
        if wrong != 0 { fatalError("the hooks of a module were torn") }
      }
      exit(0)
    }
  }

  private enum Unprotected: Flavor {
    static func unsafeEnter() {}
    static func unsafeLeave(_: Void) {}
    static var isInside: Bool { false }
    static func unsafeSynchronize() {}
    static let domain = FlavorDomain(of: Unprotected.self, named: "unprotected")
  }

  /// Calls the hooks of a point until `done`, and checks what they did.
  private static func call<F: Flavor>(_ point: HookPoint<Argument, F>, _ done: Counter, _ wrong: Counter) {
    while done.value == 0 {
      var argument = Argument()
      let result = point.dispatch(&argument)
      if !isRight(argument, result) { wrong.add(1) }
    }
  }

  private static func isRight(_ argument: Argument, _ result: HookResult) -> Bool {
    argument.calls == result.called && (argument.calls == 0 || argument.cookie == 4711)
  }

  /// Three modules come and go 100 times each while three threads call; returns how often something
  /// was wrong.
  private static func run(
    _ manager: ModuleManager, traffic: @escaping @Sendable (_ done: Counter, _ wrong: Counter) -> Void
  ) async -> Int {
    let names = ["red", "green", "blue"]
    let paths = names.map { SampleModules.counting($0) }
    let done = Counter()
    let wrong = Counter()
    await onThreads(4) { index in
      if index > 0 { return traffic(done, wrong) }
      for _ in 0..<100 {
        for path in paths {
          do { _ = try manager.load(path: path) } catch { wrong.add(1) }
        }
        for name in names {
          let outcome = try? manager.unload(name)
          if case .unloaded(let report) = outcome, report.unmapped { continue }
          wrong.add(1)
        }
      }
      done.add(1)
    }
    for path in paths where isMapped(path) { wrong.add(1) }
    return wrong.value
  }
}
