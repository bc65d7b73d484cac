import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What a manager records while a client follows.
@Suite struct TraceTests {
  let manager = ModuleManager()

  /// The life of a module in an image, step by step.
  @Test func eventsOfALifeAreInOrder() async throws {
    let trace = manager.trace()
    #expect(manager.isTraced)
    let path = SampleModules.publishing("traced")
    try await manager.load(path: path)
    let object = try manager.open("traced-object", holder: "client 7")
    let busy = await moduleError { try await manager.unload("traced") }
    object.close()
    try await manager.unload("traced")
    let (events, lost) = trace.read()
    #expect(lost == 0)
    #expect(
      events.map(line) == [
        "load begin traced", "map begin traced", "map end traced", "state moment traced coming",
        "init begin traced",
        "init end traced", "state moment traced live", "load end traced",
        "get moment traced client 7 holds object traced-object",
        "unload begin traced",
        "unload end traced in use: client 7 holds object traced-object EBUSY",
        "put moment traced client 7 holds object traced-object",
        "unload begin traced", "state moment traced going", "readers begin traced", "readers end traced",
        "exit begin traced", "exit end traced", "callbacks begin traced", "callbacks end traced",
        "unmap begin traced", "unmap end traced", "state moment traced gone", "unload end traced",
      ])
    #expect(busy?.errno == EBUSY)
    #expect(events.map(\.number) == Array(0..<UInt64(events.count)))
    try checkDurations(events)
  }

  /// A beginning and its end know each other, and the parts lie inside the whole.
  private func checkDurations(_ events: [TraceEvent]) throws {
    for end in events where end.phase == .end {
      let begin = try #require(events.first { $0.number == end.beginning })
      let duration = try #require(end.duration)
      #expect(begin.phase == .begin && begin.kind == end.kind && begin.module == end.module)
      #expect(duration >= .zero)
      #expect(duration <= .nanoseconds(Int64(end.nanoseconds - begin.nanoseconds)))
    }
    #expect(events.count { $0.phase == .begin } == events.count { $0.phase == .end })
  }

  /// Requests, and what is loaded for them; the module that needs another holds it by name.
  @Test func requestIsRecordedWithItsDependencies() async throws {
    let folder = ModuleFolder()
    await folder.add("base")
    await folder.add("top", #"QUIESCENT_DEPENDS("base");"#)
    try manager.setDirectory(folder.path)
    let trace = manager.trace()
    try await manager.request("top")
    _ = await moduleError { try await manager.request("nothing") }
    _ = await moduleError { try await manager.unload("base") }
    try await manager.unloadWithUnused("top")
    let lines = trace.read().events.filter {
      [.request, .load, .get, .put, .unload, .refused].contains($0.kind)
    }.map(line)
    #expect(
      lines == [
        "request begin top", "load begin base", "load end base", "load begin top",
        "get moment base module top",
        "load end top", "request end top", "request begin nothing",
        "request end nothing no module in \(folder.path) has that name or an alias for it ENOENT",
        "unload begin base", "unload end base needed by top EWOULDBLOCK",
        "unload begin top", "put moment base module top", "unload end top", "unload begin base",
        "unload end base",
      ])
  }

  @Test func failuresHaveAReason() async throws {
    let failing = SampleModules.custom(
      "failing-traced",
      "static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return -EIO; }",
      ".init = init")
    let trace = manager.trace()
    _ = await moduleError { try await manager.load(path: failing) }
    _ = await moduleError { try await manager.load(path: "/nothing/there.so") }
    let lines = trace.read().events.filter { $0.phase == .end && $0.errno != 0 }.map(line)
    #expect(
      lines == [
        "init end failing-traced EIO", "load end failing-traced its init failed EIO",
        "load end there no such file ENOENT",
      ])
  }

  /// Hooks take and give references and counts: on the thread that calls them, inside its section.
  @Test func countsTakenInHooksAreRecorded() async throws {
    let (manager, point) = Guest.manager(.bigref)
    try await manager.load(path: Guest.file())
    let trace = manager.trace()
    let thread = await onThread {
      for command in [Guest.Command.acquireCount, .releaseCount, .acquire, .release] {
        var argument = Guest.Argument(command)
        _ = point.dispatch(&argument)
      }
      return ServiceThread.currentID
    }
    let events = trace.read().events
    #expect(
      events.map(line) == [
        "get moment guest packets in flight", "put moment guest packets in flight", "get moment guest",
        "put moment guest",
      ])
    #expect(events.allSatisfy { $0.thread == thread })
    try await manager.unload("guest")
  }

  @Test func refusalIsRecorded() async throws {
    let host = Shared(Locked<ModuleHost?>(nil))
    let attempt = Counter(7)
    let module = BuiltInModule(
      "leaving",
      start: { given in
        host.value.withLock { $0 = given }
        return 0
      },
      exit: {
        if let host = host.value.withLock({ $0 }), host.acquire(for: "latecomer") { attempt.add(1) }
        return 0
      })
    try await manager.load(module)
    let trace = manager.trace()
    try await manager.unload("leaving")
    #expect(attempt.value == 7)
    #expect(
      trace.read().events.filter { $0.kind == .refused }.map(line) == ["refused moment leaving latecomer"])
  }

  /// What no follower wants takes no place: a small ring keeps a load and an unload of a module
  /// whose references change all the time.
  @Test func filterIsAppliedWhereEventsAreRecorded() async throws {
    let (manager, point) = Guest.manager(.bigref)
    let kinds = TraceEvent.Kind.all.subtracting([.get, .put, .state])
    let steps = manager.trace(capacity: 64, where: TraceFilter(kinds: kinds))
    try await manager.load(path: Guest.file())
    func makeReferences() async {
      await onThread {
        for _ in 0..<1000 {
          for command in [Guest.Command.acquire, .release] {
            var argument = Guest.Argument(command)
            _ = point.dispatch(&argument)
          }
        }
      }
    }
    await makeReferences()
    try await manager.unload("guest")
    let (events, lost) = steps.read()
    #expect(lost == 0 && events.allSatisfy { kinds.contains($0.kind) })
    #expect(events.first?.kind == .load && events.last?.kind == .unload)
    #expect(steps.leftOut >= 2000)
    steps.stop()

    let empty = manager.trace(capacity: 16, where: TraceFilter(kinds: []))
    try await manager.load(path: Guest.file())
    #expect(empty.read().events.isEmpty && empty.leftOut > 0)
    empty.stop()
    try await manager.unload("guest")
  }

  @Test func filterChoosesModulesAndDurations() async throws {
    let folder = ModuleFolder()
    await folder.add("rate-limit")
    await folder.add("other")
    try manager.setDirectory(folder.path)
    let one = manager.trace(where: TraceFilter(modules: ["rate_limit"]))
    let all = manager.trace()
    let long = manager.trace(where: TraceFilter(atLeast: .seconds(3600)))
    let timed = manager.trace(where: TraceFilter(kinds: [.load, .state], atLeast: .zero))
    for name in ["rate-limit", "other"] {
      try await manager.request(name)
      try await manager.unload(name)
    }
    let events = all.read().events
    let own = events.filter { ["rate-limit", "rate_limit"].contains($0.module) }
    #expect(!own.isEmpty && one.read().events == own)
    #expect(one.leftOut == events.count - own.count)
    #expect(all.leftOut == 0)
    #expect(long.read().events.isEmpty && long.leftOut == events.count)
    // Ends alone: a beginning and a state have no duration.
    #expect(timed.read().events == events.filter { $0.kind == .load && $0.phase == .end })
    // With the last follower that wanted them, events are no longer recorded.
    all.stop()
    one.stop()
    try await manager.request("other")
    #expect(timed.read().events.map(\.module) == ["other"])
    try await manager.unload("other")
  }

  /// Everyone reads everything from where they began, and while one is there it is on.
  @Test func followersReadIndependently() async throws {
    let first = manager.trace(capacity: 100)
    #expect(first.capacity == 128)
    try await manager.load(BuiltInModule("one") { _ in 0 })
    let second = manager.trace(capacity: 4096)
    #expect(second.capacity == 128, "the ring is shared")
    try await manager.load(BuiltInModule("two") { _ in 0 })
    #expect(second.read(upTo: 1).events.map(line) == ["load begin two"])
    first.stop()
    first.stop()
    #expect(manager.isTraced)
    try await manager.load(BuiltInModule("three") { _ in 0 })
    let seen = second.read().events
    #expect(seen.count == 11 && seen.allSatisfy { ["two", "three"].contains($0.module) })
    #expect(
      Set(first.read().events.map(\.module)) == ["one", "two", "three"], "what is recorded stays readable")
    do {
      let third = manager.trace()
      second.stop()
      #expect(manager.isTraced && third.read().events.isEmpty)
    }
    #expect(!manager.isTraced, "the last one has gone without a word")
  }

  @Test func disabledTracingRecordsNothing() async throws {
    let trace = manager.trace()
    trace.stop()
    let loading = SampleModules.publishing("untraced")
    try await manager.load(path: loading)
    try manager.open("untraced-object", holder: "client").close()
    // An end whose beginning was not recorded says how long it took all the same.
    let gate = Shared(Locked<ModuleTrace?>(nil))
    let manager = manager
    try await manager.load(
      BuiltInModule("switch") { _ in
        gate.value.withLock { $0 = manager.trace() }
        return 0
      })
    #expect(trace.read().events.isEmpty)
    let late = try #require(gate.value.withLock { $0 }).read().events
    #expect(late.map(line) == ["init end switch", "state moment switch live", "load end switch"])
    #expect(late.allSatisfy { $0.beginning == nil })
    #expect(late.filter { $0.phase == .end }.allSatisfy { ($0.duration ?? .zero) > .zero })
    try await manager.unload("untraced")
  }

  /// What modules wait for together lies on the thread's timeline one inside the other.
  @Test func sharedWaitsAreRecordedForEachModule() async throws {
    for name in ["one", "two"] { try await manager.load(BuiltInModule(name) { _ in 0 }) }
    let trace = manager.trace()
    _ = try await manager.unload(together: ["one", "two"])
    let lines = trace.read().events.filter { [.readers, .unload].contains($0.kind) }.map(line)
    #expect(
      lines == [
        "unload begin one", "unload begin two", "readers begin one", "readers begin two", "readers end two",
        "readers end one", "unload end one", "unload end two",
      ])
  }

  private func line(_ event: TraceEvent) -> String {
    var words = ["\(event.kind)", "\(event.phase)", event.module, event.label]
    if event.errno != 0 {
      words.append(
        event.errno == EWOULDBLOCK && event.kind == .unload ? "EWOULDBLOCK" : errnoName(event.errno))
    }
    return words.filter { !$0.isEmpty }.joined(separator: " ")
  }

  /// Rings of followers that have stopped count as well: a client that keeps many does not take the
  /// process's memory.
  @Test func ringsOfAllFollowersAreBounded() {
    let manager = ModuleManager()
    var traces: [ModuleTrace] = []
    for _ in 0..<40 {
      let trace = manager.trace(capacity: 1 << 20)
      trace.stop()
      traces.append(trace)
    }
    #expect(traces[0].capacity == 1 << 17)
    #expect(traces.reduce(0) { $0 + $1.capacity } <= (1 << 17) + 40)
    #expect(traces.allSatisfy { $0.capacity >= 1 })
    traces = []
    // Writers leave a ring that was taken away after a grace period, and with it the last
    // reference.
    Memb.barrier()
    let trace = manager.trace(capacity: 1 << 20)
    #expect(trace.capacity == 1 << 17)
  }
}
