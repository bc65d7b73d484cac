import Foundation
import ModuleManager
import Quiescence
import Synchronization
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
    let wrong = await Self.run(manager) { done, wrong in
      while done.value == 0 {
        var argument = Argument()
        let result = memb.dispatch(&argument)
        if argument.calls != result.called || (argument.calls > 0 && argument.cookie != 4711) { wrong.add(1) }
      }
    }
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
            if argument.calls != result.called || (argument.calls > 0 && argument.cookie != 4711) {
              wrong.add(1)
            }
          }
          reader.quiescentState()
        }
      }
    }
    #expect(wrong == 0)
  }

  /// The mutant: the same traffic, and an unload that does not wait for it (scenario R2).
  @Test func withoutAGracePeriodTheProcessDies() async {
    await #expect(processExitsWith: .failure) {
      let path = SampleModules.counting("mutant")
      let calls = Counter()
      await onThreads(3) { index in
        if index == 0 {
          for _ in 0..<200_000 {
            guard let handle = dlopen(path, RTLD_NOW) else { fatalError("not loaded") }
            UnguardedPoint.code.store(
              UInt(bitPattern: dlsym(handle, "quiescent_module")), ordering: .releasing)
            for _ in 0..<50 { sched_yield() }
            UnguardedPoint.code.store(0, ordering: .releasing)
            dlclose(handle)
          }
          exit(0)
        }
        while true {
          // A lookup and a use, as a dispatch does them, with nothing that the other thread waits for.
          if let image = UnsafeRawPointer(bitPattern: UnguardedPoint.code.load(ordering: .acquiring)) {
            for _ in 0..<100 { calls.add(Int(image.load(as: UInt32.self))) }
          }
        }
      }
    }
  }

  /// Three modules come and go 100 times each while three threads call; returns how often something was wrong.
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

/// Where the mutant publishes code without protecting it.
private enum UnguardedPoint {
  static let code = Atomic<UInt>(0)
}
