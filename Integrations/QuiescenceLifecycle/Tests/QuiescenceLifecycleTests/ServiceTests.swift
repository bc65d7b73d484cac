import ModuleManager
import Quiescence
import QuiescenceLifecycle
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import Testing

/// Modules and reclaimers at the end of a service group.
@Suite struct ServiceTests {
  /// A number that threads change atomically.
  final class Count: Sendable {
    private let number = Atomic(0)
    var value: Int { number.load(ordering: .sequentiallyConsistent) }
    @discardableResult func add() -> Int { number.add(1, ordering: .sequentiallyConsistent).newValue }
  }

  @Test func shutdownUnloadsModulesInOrderOfTheirDependencies() async throws {
    let order = Mutex<[String]>([])
    let manager = ModuleManager()
    func module(_ name: String, dependsOn: [String] = []) -> BuiltInModule {
      BuiltInModule(name, dependsOn: dependsOn, start: { _ in 0 }) {
        order.withLock { $0.append(name) }
        return 0
      }
    }
    try await manager.load([module("base"), module("user", dependsOn: ["base"])])
    try await testGracefulShutdown { trigger in
      async let run: Void = ModuleManagerService(manager).run()
      #expect(manager.list().count == 2)
      trigger.triggerGracefulShutdown()
      try await run
    }
    #expect(manager.list().isEmpty)
    #expect(order.withLock { $0 } == ["user", "base"])
  }

  @Test func moduleThatStaysInUseIsNamedAtTheLimit() async throws {
    let manager = ModuleManager()
    let host = Mutex<ModuleHost?>(nil)
    let module = BuiltInModule("busy") { own in
      host.withLock { $0 = own }
      return own.acquire(for: "client 7") ? 0 : 1
    }
    try await manager.load([module])
    await testGracefulShutdown { trigger in
      async let run: Void = ModuleManagerService(manager, unloadingWithin: .milliseconds(50)).run()
      trigger.triggerGracefulShutdown()
      do {
        try await run
        Issue.record("the module was in use")
      } catch {
        #expect("\(error)".hasPrefix("modules left at shutdown: busy: "), "\(error)")
        #expect("\(error)".contains("client 7"), "\(error)")
      }
    }
    #expect(manager.list().map(\.name) == ["busy"])
    host.withLock { $0?.release(for: "client 7") }
    try await manager.unload("busy")
  }

  @Test func permanentModulesMayStay() async throws {
    let manager = ModuleManager()
    try await manager.load([BuiltInModule("stays") { _ in 0 }, BuiltInModule("goes") { _ in 0 }])
    try await testGracefulShutdown { trigger in
      async let run: Void = ModuleManagerService(manager, leaving: ["stays"]).run()
      trigger.triggerGracefulShutdown()
      try await run
    }
    #expect(manager.list().map(\.name) == ["stays"])
    try await manager.unload("stays")
  }

  @Test func cancelledServiceLeavesTheModules() async throws {
    let manager = ModuleManager()
    try await manager.load([BuiltInModule("limiter") { _ in 0 }])
    let run = Task { try await ModuleManagerService(manager).run() }
    run.cancel()
    await #expect(throws: CancellationError.self) { try await run.value }
    #expect(manager.list().count == 1)
    try await manager.unload("limiter")
  }

  @Test func shutdownRunsWhatWasRetired() async throws {
    let runs = Count()
    let reclaimer = RCUReclaimer(named: "own", Memb.self)
    try await testGracefulShutdown { trigger in
      async let run: Void = ReclaimerService([reclaimer, Memb.reclaimer]).run()
      for _ in 0..<100 {
        reclaimer.retire { runs.add() }
        Memb.retire { runs.add() }
      }
      trigger.triggerGracefulShutdown()
      try await run
    }
    #expect(runs.value == 200)
  }

  @Test func readerThatStaysInsideEndsTheServiceAtItsLimit() async throws {
    let domain = SharedDomain(SleepableDomain("slow"))
    let isInside = AsyncStream<Void>.makeStream(), mayLeave = AsyncStream<Void>.makeStream()
    let reader = Task {
      await domain.domain.read { _ in
        isInside.continuation.finish()
        for await _ in mayLeave.stream {}
      }
    }
    for await _ in isInside.stream {}
    let runs = Count()
    domain.domain.retire { runs.add() }
    await testGracefulShutdown { trigger in
      async let run: Void = ReclaimerService([domain.domain.reclaimer], drainingWithin: .milliseconds(20))
        .run()
      trigger.triggerGracefulShutdown()
      do {
        try await run
        Issue.record("a section is open")
      } catch {
        #expect("\(error)" == "1 retired callback left at shutdown: a reader is still inside its section")
      }
    }
    #expect(runs.value == 0)
    mayLeave.continuation.finish()
    await reader.value
    await domain.domain.barrier()
    #expect(runs.value == 1)
  }

  /// The example of the README: the server ends before the modules, and those before the
  /// reclaimers.
  @Test func groupEndsInTheReverseOrder() async throws {
    let ends = Mutex<[String]>([])
    struct Server: Service {
      let started: AsyncStream<Void>.Continuation
      let ended: @Sendable () -> Void
      func run() async throws {
        started.finish()
        try await gracefulShutdown()
        ended()
      }
    }
    let manager = ModuleManager(), reclaimer = RCUReclaimer(named: "own", Memb.self)
    let module = BuiltInModule("filter", start: { _ in 0 }) {
      ends.withLock { $0.append("module") }
      reclaimer.retire { ends.withLock { $0.append("callback") } }
      return 0
    }
    try await manager.load([module])
    let started = AsyncStream<Void>.makeStream()
    let server = Server(started: started.continuation) { ends.withLock { $0.append("server") } }
    try await testGracefulShutdown { trigger in
      async let run: Void = ServiceGroup(services: services(server, manager, reclaimer)).run()
      for await _ in started.stream {}
      trigger.triggerGracefulShutdown()
      try await run
    }
    #expect(ends.withLock { $0 } == ["server", "module", "callback"])
  }
}

/// Lends a domain to tasks.
private final class SharedDomain: Sendable {
  let domain: SleepableDomain
  init(_ domain: consuming SleepableDomain) { self.domain = domain }
}
