import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules that are compiled in and depend on others, compiled in or not.
@Suite struct BuiltInOrderTests {
  let manager = ModuleManager()
  let folder = ModuleFolder()
  private let started = Lines()

  private func module(_ name: String, _ dependsOn: [String] = [], result: Int32 = 0) -> BuiltInModule {
    BuiltInModule(name, dependsOn: dependsOn) { [started] _ in
      started.add(name)
      return result
    }
  }

  private func names() -> [String] { manager.list().map(\.name) }

  private static func orders(_ items: [Int]) -> [[Int]] {
    if items.isEmpty { return [[]] }
    return items.flatMap { item in orders(items.filter { $0 != item }).map { [item] + $0 } }
  }

  /// Whatever the order they are given in, each comes after what it needs.
  @Test func modulesInitializeInDependencyOrder() async throws {
    let diamond = [
      module("top", ["left", "right"]), module("left", ["base"]), module("right", ["base"]), module("base"),
    ]
    for order in Self.orders([0, 1, 2, 3]) {
      let manager = ModuleManager()
      let given = order.map { diamond[$0] }
      let loaded = try await manager.load(given)
      #expect(loaded.map(\.name) == order.map { ["top", "left", "right", "base"][$0] })
      let names = manager.list().map(\.name)
      #expect(names.first == "base" && names.last == "top", "\(names)")
      #expect(started.all.suffix(4) == names)
      #expect(manager.list()[0].dependents == Array(names[1...2]))
      #expect(manager.list()[3].dependsOn == ["left", "right"])
      // Every one of them was asked for: none goes with the one that needs it.
      #expect(try await manager.unloadWithUnused("top").others.isEmpty)
      let needed = await moduleError { try await manager.unload("base", ifBusy: .wait) }
      #expect(needed?.errno == EWOULDBLOCK && needed?.errnoName == "EWOULDBLOCK")
      #expect(needed?.reason == "needed by \(names[1...2].joined(separator: ", "))")
      for name in ["left", "right", "base"] { try await manager.unload(name) }
    }
  }

  @Test func cyclesAndMissingDependenciesStartNothing() async {
    let cycle = await moduleError {
      try await manager.load([
        module("free"), module("one", ["two"]), module("two", ["three"]), module("three", ["two"]),
      ])
    }
    #expect(cycle?.errno == ELOOP && cycle?.reason == "depends on itself: two → three → two")
    let other = ModuleManager()
    let gap = await moduleError { try await other.load([module("free"), module("top", ["absent"])]) }
    #expect(gap?.description == "top: depends on absent, which is not in the host (ENOENT)")
    #expect(started.all.isEmpty && names().isEmpty && other.list().isEmpty)
    #expect(await moduleError { try await other.load([module("a-b"), module("a_b")]) }?.errno == EEXIST)
    #expect(await moduleError { try await other.load([module("a"), module("a b")]) }?.errno == EINVAL)
    #expect(await moduleError { try await other.load([module("a", ["../b"])]) }?.errno == EINVAL)
    #expect(await moduleError { try await ModuleManager().load([]) } == nil)
  }

  /// By itself: as an image that is loaded by its path.
  @Test func singleModuleNeedsItsDependencies() async throws {
    let missing = await moduleError { try await manager.load(module("top", ["base"])) }
    #expect(missing?.description == "top: depends on base, which is not loaded (ENOENT)")
    try await manager.load(module("base"))
    try await manager.load(module("top", ["base"]))
    #expect(await moduleError { try await manager.unload("base") }?.errno == EWOULDBLOCK)
    try await manager.unload("top")
    try await manager.unload("base")
  }

  @Test func modulesStartedBeforeAFailureStay() async throws {
    let failed = await moduleError {
      try await manager.load([
        module("top", ["broken"]), module("broken", ["base"], result: -ENODEV), module("base"),
      ])
    }
    #expect(failed?.description == "top: needs broken: its init failed (ENODEV)")
    #expect(started.all == ["base", "broken"])
    await whenGone("broken", manager)
    #expect(names() == ["base"])
    #expect(manager.list()[0].users == 0, "a failed module still holds what it depended on")
    try await manager.unload("base")
  }

  /// An image that needs what is compiled in, which needs an image.
  @Test func imagesAndBuiltInModulesMayDependOnEachOther() async throws {
    await folder.add("bottom")
    await folder.add("top", #"QUIESCENT_DEPENDS("middle");"#)
    try manager.setDirectory(folder.path)
    manager.provide([module("middle", ["bottom"])])
    #expect(names().isEmpty, "providing starts nothing")
    #expect(
      try manager.plan(for: "top").map { [$0.module, $0.path.isEmpty ? "" : "file"] } == [
        ["bottom", "file"], ["middle", ""], ["top", "file"],
      ])
    #expect(try await manager.request("top").map(\.name) == ["top"])
    #expect(names() == ["bottom", "middle", "top"])
    #expect(await moduleError { try await manager.unload("bottom") }?.reason == "needed by middle")
    #expect(await moduleError { try await manager.unload("middle") }?.reason == "needed by top")
    #expect(try manager.removalPlan(of: "top") == ["top", "middle", "bottom"])
    #expect(try await manager.unloadWithUnused("top").others == ["middle", "bottom"])
    // Found again, by its name, with `-` for `_`.
    manager.provide([module("built_in", ["bottom"])])
    try await manager.request("built-in")
    #expect(names() == ["bottom", "built_in"])
    #expect(try await manager.unloadWithUnused("built_in").others == ["bottom"])
  }

  @Test func cycleThroughAnImageIsNamed() async throws {
    await folder.add("image", #"QUIESCENT_DEPENDS("inside");"#)
    try manager.setDirectory(folder.path)
    let error = await moduleError { try await manager.load([module("inside", ["image"])]) }
    #expect(error?.description == "inside: depends on itself: inside → image → inside (ELOOP)")
    #expect(names().isEmpty && started.all.isEmpty)
  }

  /// As a request for an image: many callers, one start.
  @Test func concurrentRequestsShareOneStart() async throws {
    manager.provide([module("top", ["base"]), module("base")])
    let manager = manager
    let failures = Lines()
    await onThreads(8) { _ in
      do { try manager.request("top") } catch { failures.add("\(error)") }
    }
    #expect(failures.all.isEmpty && started.all == ["base", "top"])
    #expect(try await manager.unloadWithUnused("top").others == ["base"])
    #expect(
      await moduleError { try await manager.request("nosuch") }?.description
        == "nosuch: no module in the host has that name or an alias for it (ENOENT)")
  }
}
