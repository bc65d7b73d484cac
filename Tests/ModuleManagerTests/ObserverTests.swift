import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Observers may refuse modules, and are told when they have gone.
@Suite struct ObserverTests {
  // However slow the machine is, a load is answered when the observers have returned.
  let manager = ModuleManager(patience: nil)
  private let log = Shared(Locked<[String]>([]))

  private func observer(_ name: String, refusing refused: String? = nil) -> ModuleObserver {
    let log = log
    return ModuleObserver(
      name,
      willLoad: { module, _ in
        log.value.withLock { $0.append("\(name)+\(module)") }
        return module == refused ? "not today" : nil
      }, hasGone: { module in log.value.withLock { $0.append("\(name)-\(module)") } })
  }

  private func entries() -> [String] {
    log.value.withLock { entries in
      defer { entries = [] }
      return entries
    }
  }

  private func error<Value>(_ body: () async throws(ModuleError) -> Value) async -> ModuleError? {
    do {
      _ = try await body()
      return nil
    } catch { return error }
  }

  @Test func refusalIsToldToEarlierObserversInReverse() async throws {
    let folder = ModuleFolder()
    await folder.add("base")
    let path = await folder.add("top", #"QUIESCENT_DEPENDS("base");"#)
    try manager.setDirectory(folder.path)
    for observer in [observer("a"), observer("b"), observer("c", refusing: "top"), observer("d")] {
      manager.add(observer)
    }
    let refused = await error { () async throws(ModuleError) in try await manager.request("top") }
    #expect(refused?.description == "top: c refuses it: not today (EPERM)")
    #expect(
      entries() == ["a+base", "b+base", "c+base", "d+base", "a+top", "b+top", "c+top", "b-top", "a-top"])
    #expect(!isMapped(path))
    #expect(manager.list().map(\.name) == ["base"] && manager.list()[0].users == 0)
    try await manager.unload("base")
    #expect(entries() == ["d-base", "c-base", "b-base", "a-base"])
    let builtIn = BuiltInModule("top") { _ in 0 }
    #expect(await error { () async throws(ModuleError) in try await manager.load(builtIn) }?.errno == EPERM)
    #expect(manager.list().isEmpty)
  }

  @Test func observerIsToldOnceThatAModuleHasGone() async throws {
    let (first, second) = (observer("first"), observer("second"))
    manager.add(first)
    let failing = SampleModules.custom(
      "failing-observed",
      "static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return -EIO; }",
      ".init = init")
    let failed = await error { () async throws(ModuleError) in try await manager.load(path: failing) }
    #expect(failed?.errno == EIO)
    #expect(entries() == ["first+failing-observed", "first-failing-observed"])
    let path = SampleModules.publishing("observed")
    try await manager.load(path: path)
    manager.remove(first)
    manager.add(second)
    let object = try manager.open("observed-object", holder: "client")
    #expect(
      await error { () async throws(ModuleError) in try await manager.unload("observed") }?.errno == EBUSY)
    object.close()
    #expect(entries() == ["first+observed"])
    try await manager.unload("observed")
    #expect(entries() == ["first-observed"])
    #expect(await error { () async throws(ModuleError) in try await manager.load(path: "/nothing") } != nil)
    #expect(entries().isEmpty)
  }

  /// Where it would wait for itself it is told so.
  @Test func unloadInsideAnObserverIsEDEADLK() async throws {
    let answer = Shared(Locked<Int32>(0))
    let manager = manager
    manager.add(
      ModuleObserver(
        "curious",
        willLoad: { module, _ in
          do throws(ModuleError) { try manager.unload(module) } catch {
            answer.value.withLock { $0 = error.errno }
          }
          return nil
        }))
    try await manager.load(path: SampleModules.publishing("asking"))
    #expect(answer.value.withLock { $0 } == EDEADLK)
    try await manager.unload("asking")
  }
}
