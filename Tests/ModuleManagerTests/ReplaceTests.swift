import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// One version of a module in the place of another.
@Suite(.timeLimit(.minutes(10))) struct ReplaceTests {
  @Test(arguments: UnloadScheme.all)
  func newVersionTakesThePlaceOfTheOldOne(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme)
    let (first, second) = (Versions.module("place", 2), Versions.module("place", 3))
    try await scene.manager.load(path: Versions.module("place-before", 1))
    try await scene.manager.load(path: first)
    try await scene.manager.load(path: Versions.module("place-after", 4))
    #expect(scene.call() == 124)
    let replacement = try await scene.manager.replace("place", with: second)
    #expect(replacement.isUnmapped && !isMapped(first) && isMapped(second))
    #expect(replacement.module.version == "3" && replacement.module.path == second)
    #expect(replacement.module.state == .live && replacement.module.hookPoints == ["point"])
    #expect(!replacement.keepsState)
    #expect(scene.call() == 134, "in the same order")
    #expect(try scene.read("place-object") == "3")
    #expect(scene.rows("place").map(\.version) == ["3"])
    #expect(scene.manager.lastUnloaded?.end == .replaced && scene.manager.lastUnloaded?.version == "2")
    // And by the file of the first version, and in the blocking form.
    let manager = scene.manager
    let again = try await onThread { Result { try manager.replace("place", with: first) } }.get()
    #expect(again.isUnmapped && again.module.version == "2" && scene.call() == 124)
    for name in ["place", "place-before", "place-after"] {
      #expect(try await scene.manager.unload(name).isUnmapped)
    }
    #expect(scene.call() == 0 && manager.list().isEmpty && manager.objects().isEmpty)
  }

  /// What is open stays with the version that it was opened at, and holds it.
  @Test(arguments: UnloadScheme.all)
  func openObjectHoldsTheOldVersion(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme)
    let first = Versions.module("held", 1)
    try await scene.manager.load(path: first)
    let object = try scene.manager.open("held-object", holder: "client 7")
    let replacement = try await scene.manager.replace("held", with: Versions.module("held", 2))
    #expect(replacement.deferredHolders?.map(\.label) == ["client 7 holds object held-object"])
    #expect(scene.call() == 2 && scene.rows("held").map(\.state) == [.going, .live])
    #expect(scene.rows("held").map(\.version) == ["1", "2"] && scene.rows("held")[0].users == 1)
    #expect(scene.rows("held")[0].activity?.kind == .users)
    #expect(try String(decoding: object.read(from: 0, upTo: 9), as: UTF8.self) == "1")
    #expect(try scene.read("held-object") == "2")
    // A third version, while the first is still held.
    let second = try scene.manager.open("held-object", holder: "client 8")
    let next = try await scene.manager.replace("held", with: Versions.module("held", 3))
    #expect(next.deferredHolders?.map(\.label) == ["client 8 holds object held-object"])
    #expect(scene.rows("held").map(\.state) == [.going, .going, .live])
    // Both leave, the later one first; neither is found by name.
    #expect(scene.manager.unloadAttempt(of: "held")?.holders.map(\.label).count == 1)
    second.close()
    await scene.whenListed(2, "held")
    object.close()
    await scene.whenListed(1, "held")
    #expect(!isMapped(first) && scene.manager.lastUnloaded?.version == "1")
    #expect(scene.manager.recentlyUnloaded.prefix(2).map(\.end) == [.replaced, .replaced])
    #expect(scene.call() == 3)
    #expect(try await scene.manager.unload("held").isUnmapped)
  }

  /// A request with a limit waits for the users of the old version.
  @Test func replacementWithALimitWaitsForUsers() async throws {
    let scene = Versions()
    try await scene.manager.load(path: Versions.module("awaited", 1))
    let object = try scene.manager.open("awaited-object", holder: "client")
    let manager = scene.manager
    async let replacement = manager.replace(
      "awaited", with: Versions.module("awaited", 2), within: .seconds(600))
    await scene.whenInside("awaited", .users)
    #expect(scene.call() == 2)
    object.close()
    #expect(try await replacement.isUnmapped)
    // Cancelled after the takeover: no error, since the new version serves.
    let second = try scene.manager.open("awaited-object", holder: "client")
    let task = Task {
      try await manager.replace("awaited", with: Versions.module("awaited", 3), within: .seconds(600))
    }
    await scene.whenInside("awaited", .users)
    task.cancel()
    #expect(try await task.value.deferredHolders?.count == 1)
    #expect(scene.call() == 3)
    second.close()
    await scene.whenListed(1, "awaited")
    try await manager.unload("awaited")
  }

  /// The modules that depend on it are not asked, and depend on the new version.
  @Test func dependentsStay() async throws {
    let scene = Versions()
    let folder = ModuleFolder()
    let user = await folder.add("base-user", #"QUIESCENT_DEPENDS("base");"#)
    try await scene.manager.load(path: Versions.module("base", 1))
    try await scene.manager.load(path: user)
    #expect(await moduleError { try await scene.manager.unload("base") }?.errnoName == "EWOULDBLOCK")
    let replacement = try await scene.manager.replace("base", with: Versions.module("base", 2))
    #expect(replacement.isUnmapped, "the dependent does not keep the old version")
    #expect(scene.rows("base").map(\.dependents) == [["base-user"]])
    #expect(scene.rows("base-user").map(\.dependsOn) == [["base"]])
    #expect(scene.rows("base")[0].holders.map(\.label) == ["module base-user"])
    let error = await moduleError { try await scene.manager.unload("base") }
    #expect(error?.description == "base: needed by base-user (EWOULDBLOCK)")
    #expect(try await scene.manager.unload("base-user").isUnmapped)
    #expect(try await scene.manager.unload("base").isUnmapped)
  }

  @Test func hooksThatOnlyOneVersionHasComeAndGo() async throws {
    let scene = Versions()
    let other = HookPoint<Versions.Argument, MB>(
      "other", argumentType: SampleModules.argumentType, flavor: MB.self)
    scene.manager.provide(other)
    func called() -> Int {
      var argument = Versions.Argument()
      return other.dispatch(&argument).called
    }
    let more = """
      for (int i = 0; i < 2; i++) {
        error = h->register_hook(s, "other", "\(SampleModules.argumentType)", i, hook, NULL);
        if (error) return error;
      }
      """
    try await scene.manager.load(path: Versions.module("points", 1))
    try await scene.manager.replace("points", with: Versions.module("points", 2, initialize: more))
    #expect(scene.call() == 2 && called() == 2)
    #expect(scene.rows("points")[0].hookPoints == ["point", "other"])
    #expect(
      try await scene.manager.replace("points", with: Versions.module("points", 3, publishes: false))
        .isUnmapped)
    #expect(scene.call() == 3 && called() == 0 && scene.manager.objects().isEmpty)
    try await scene.manager.unload("points")
  }

  @Test func builtInModulesReplaceEachOtherAndImages() async throws {
    let scene = Versions()
    let (point, manager) = (scene.point, scene.manager)
    let limit = ModuleParameter("limit", 1, isWritable: true)
    func version(_ digit: Int32, _ parameters: [AnyModuleParameter] = []) -> BuiltInModule {
      BuiltInModule(
        "inner", version: "\(digit)", parameters: parameters,
        start: { host in
          let error = host.register(on: point) { argument in
            argument.calls += 1
            argument.cookie = argument.cookie * 10 + digit
            return .accept
          }
          return error == 0 ? host.publish("inner-object") { _, _ in [48 + UInt8(digit)] } : error
        }, exit: { 0 })
    }
    try await manager.load(version(1, [AnyModuleParameter(ModuleParameter("limit", 7))]))
    let replacement = try await manager.replace("inner", with: version(2, [AnyModuleParameter(limit)]))
    guard case .success(.unloaded(let report)) = replacement.unload else {
      Issue.record("\(replacement)")
      return
    }
    #expect(!report.unmapped && report.image == nil)
    #expect(scene.call() == 2 && limit.value == 7)
    try await manager.replace("inner", with: Versions.module("inner", 3))
    #expect(scene.call() == 3)
    #expect(try await manager.replace("inner", with: version(4)).isUnmapped)
    #expect(scene.call() == 4)
    let error = await moduleError {
      try await manager.replace("inner", with: BuiltInModule("outer") { _ in 0 })
    }
    #expect(
      error?.description == "outer: its module is called 'outer', and cannot replace 'inner' (ENOEXEC)")
    try await manager.unload("inner")
  }

  /// A second instance of a module is replaced under its own name.
  @Test func instanceIsReplaced() async throws {
    let scene = Versions()
    let path = Versions.module("plain", 1, publishes: false)
    try await scene.manager.load(path: path)
    try await scene.manager.load(path: path, policy: ModulePolicy(instance: "second"))
    #expect(scene.call() == 11)
    try await scene.manager.replace("second", with: Versions.module("plain", 2, publishes: false))
    #expect(scene.call() == 12 && scene.manager.list().map(\.name) == ["plain", "second"])
    try await scene.manager.replace("plain", with: Versions.module("plain", 3, publishes: false))
    #expect(scene.call() == 32)
    for name in ["second", "plain"] { try await scene.manager.unload(name) }
  }

  @Test func eventsObserversAndTraceTellOfBothVersions() async throws {
    let scene = Versions()
    let manager = scene.manager
    try await manager.load(path: Versions.module("seen", 1))
    let told = Lines()
    manager.add(
      ModuleObserver(
        "observer",
        willLoad: { module, _ in
          told.add("+\(module)"); return nil
        },
        hasGone: { told.add("-\($0)") }))
    let (events, trace) = (manager.events(), manager.trace())
    try await manager.replace("seen", with: Versions.module("seen", 2))
    try await manager.replace("seen", with: Versions.module("seen", 3))
    var states: [ModuleState] = []
    for await event in events {
      states.append(event.state)
      if states.count == 8 { break }
    }
    #expect(states.prefix(4) == [.coming, .going, .live, .gone] && states.suffix(4) == states.prefix(4))
    #expect(told.all == ["+seen", "+seen", "-seen"], "the first version was never asked about")
    let spans = trace.read().events.filter { $0.kind == .replace }
    #expect(spans.map(\.phase) == [.begin, .end, .begin, .end] && spans.allSatisfy { $0.module == "seen" })
    #expect(TraceEvent.Kind.replace.description == "replace")
    try await manager.unload("seen")
  }
}
