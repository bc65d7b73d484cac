import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What has gone is kept in mind; and what may not come any more.
@Suite struct UnloadedTests {
  @Test func unloadedModulesAreListedWithTheirOutcome() async throws {
    let (manager, _) = Guest.manager(.bigref)
    #expect(manager.lastUnloaded == nil && manager.recentlyUnloaded.isEmpty)
    let path = SampleModules.custom(
      "counted",
      """
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { host = h; self = s; return 0; }
      static int leave(void) { return 0; }
      """, ".version = \"1.2\", .init = init, .exit = leave")
    let before = ContinuousClock.now
    try await manager.load(path: path)
    #expect(manager.lastUnloaded == nil)
    try await manager.unload("counted")
    let last = try #require(manager.lastUnloaded)
    #expect(last.name == "counted" && last.version == "1.2" && last.path.hasSuffix("/counted.so"))
    #expect(last.end == .unloaded && before < last.instant && last.instant < .now)

    #expect(await moduleError { try await manager.load(path: Guest.file(failingAt: 4)) }?.errno == ENODEV)
    await whenGone("guest", manager)
    #expect(manager.lastUnloaded?.name == "guest" && manager.lastUnloaded?.end == .failed)

    try await manager.load(path: Guest.file())
    let told = Counter()
    let object = try manager.open("guest-object", holder: "client") { told.add(1) }
    async let outcome = manager.unload("guest", ifBusy: .force)
    while told.value == 0 { await Task.yield() }
    #expect(manager.lastUnloaded?.end == .failed, "it has not gone yet")
    object.close()
    _ = try await outcome
    #expect(manager.lastUnloaded?.end == .forced)

    for index in 0..<10 {
      try await manager.load(BuiltInModule("built-in-\(index)") { _ in 0 })
      try await manager.unload("built-in-\(index)")
    }
    #expect(manager.recentlyUnloaded.map(\.name) == (2..<10).reversed().map { "built-in-\($0)" })
    #expect(manager.lastUnloaded?.path.isEmpty == true)
  }

  @Test func loadingStaysForbidden() async throws {
    let manager = ModuleManager()
    let folder = ModuleFolder()
    await folder.add("one")
    let other = await folder.add("other")
    try manager.setDirectory(folder.path)
    try await manager.request("one")
    manager.forbidLoading()
    #expect(manager.isLoadingForbidden)
    let started = Counter()
    let module = BuiltInModule("inside") { _ in
      started.add(1)
      return 0
    }
    let errors = [
      await moduleError { try await manager.load(path: other) },
      await moduleError { try await manager.request("other") },
      await moduleError { try await manager.load(module) },
      await moduleError { try await manager.load([module]) },
    ]
    #expect(errors.map { $0?.errno } == [EPERM, EPERM, EPERM, EPERM])
    #expect(errors[1]?.reason == "loading modules has been forbidden for good")
    #expect(started.value == 0 && !isMapped(other))
    // What is there is there, until it goes.
    #expect(try await manager.request("one").map(\.name) == ["one"])
    try await manager.unload("one")
    #expect(await moduleError { try await manager.request("one") }?.errno == EPERM)
  }
}
