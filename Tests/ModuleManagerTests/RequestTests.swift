import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules that are found by name, loaded with what they need, and kept as long as they are needed.
@Suite struct RequestTests {
  let manager = ModuleManager()
  let folder = ModuleFolder()

  private func names() -> [String] { manager.list().map(\.name) }

  private func error<Value>(_ body: () async throws(ModuleError) -> Value) async -> ModuleError? {
    do {
      _ = try await body()
      return nil
    } catch { return error }
  }

  @Test func dependenciesAreLoadedFirstAndKept() async throws {
    await folder.add("base")
    await folder.add("middle", #"QUIESCENT_DEPENDS("base");"#)
    await folder.add("top", #"QUIESCENT_DEPENDS("middle,base");"#)
    try manager.setDirectory(folder.path)
    let loaded = try await manager.request("top")
    #expect(loaded.map(\.name) == ["top"])
    #expect(loaded[0].dependsOn == ["middle", "base"])
    #expect(names() == ["base", "middle", "top"])
    #expect(manager.list()[0].dependents == ["middle", "top"])
    #expect(manager.list()[0].holders.map(\.label) == ["module middle", "module top"])

    let busy = await error { () async throws(ModuleError) in try await manager.unload("base", ifBusy: .wait) }
    #expect(busy?.errno == EWOULDBLOCK)
    #expect(busy?.reason == "needed by middle, top")
    #expect(manager.list().allSatisfy { $0.state == .live })

    // Asked for again: nothing happens.
    #expect(try await manager.request("top").map(\.name) == ["top"])
    let gone = try await manager.unloadWithUnused("top")
    #expect(gone.others == ["middle", "base"])
    if case .unloaded = gone.outcome {} else { Issue.record("\(gone.outcome)") }
    #expect(names().isEmpty)
    for name in ["base", "middle", "top"] { #expect(!isMapped("\(folder.path)/\(name).so")) }
  }

  /// What was asked for by name stays, and so does what is in use.
  @Test func onlyUnusedDependenciesAreUnloaded() async throws {
    await folder.add("wanted")
    await folder.add("shared")
    await folder.add("one", #"QUIESCENT_DEPENDS("wanted,shared");"#)
    await folder.add("two", #"QUIESCENT_DEPENDS("shared");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("wanted")
    try await manager.request("one")
    try await manager.request("two")
    #expect(try await manager.unloadWithUnused("one").others.isEmpty)
    #expect(names() == ["wanted", "shared", "two"])
    #expect(try await manager.unloadWithUnused("two").others == ["shared"])
    try await manager.unload("wanted")
    #expect(names().isEmpty)
  }

  /// `modprobe cron; modprobe heartbeat; modprobe -r cron`: what was asked for stays, also when it
  /// had been loaded for another one before.
  @Test func moduleThatIsRequestedLaterStays() async throws {
    await folder.add("heartbeat")
    await folder.add("calendar", #"QUIESCENT_ALIAS("dates");"#)
    await folder.add("cron", #"QUIESCENT_DEPENDS("heartbeat"); QUIESCENT_SOFTDEP("pre: dates");"#)
    try manager.setDirectory(folder.path)
    for (name, isAlias) in [("heartbeat", false), ("dates", true)] {
      try await manager.request("cron")
      #expect(names() == ["calendar", "heartbeat", "cron"])
      try await manager.request(name)
      let kept = isAlias ? "calendar" : "heartbeat", gone = isAlias ? "heartbeat" : "calendar"
      #expect(try manager.removalPlan(of: "cron") == ["cron", gone])
      #expect(try await manager.unloadWithUnused("cron").others == [gone])
      #expect(names() == [kept])
      try await manager.unload(kept)
    }
  }

  /// What was loaded because a module wanted it goes with the last one that wants it.
  @Test func softDependenciesGoWithTheModule() async throws {
    await folder.add("clock")
    await folder.add("crc", #"QUIESCENT_ALIAS("sum"); QUIESCENT_DEPENDS("clock");"#)
    await folder.add("audit")
    await folder.add("one", #"QUIESCENT_SOFTDEP("pre: sum post: audit absent");"#)
    await folder.add("two", #"QUIESCENT_SOFTDEP("pre: crc");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("one")
    #expect(names() == ["clock", "crc", "one", "audit"])
    // Found loaded, and wanted from now on.
    try await manager.request("two")
    #expect(try manager.removalPlan(of: "one") == ["one", "audit"])
    #expect(try await manager.unloadWithUnused("one").others == ["audit"])
    #expect(names() == ["clock", "crc", "two"])
    #expect(try manager.removalPlan(of: "two") == ["two", "crc", "clock"])
    #expect(try await manager.unloadWithUnused("two").others == ["crc", "clock"])
    #expect(names().isEmpty)
  }

  /// Two that want each other go together, and one that is in use stays.
  @Test func softDependenciesInUseStay() async throws {
    await folder.add("left", #"QUIESCENT_SOFTDEP("post: right");"#)
    await folder.add("right", #"QUIESCENT_SOFTDEP("pre: left");"#)
    await folder.add("user", #"QUIESCENT_DEPENDS("right");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("left")
    #expect(try await manager.unloadWithUnused("left").others == ["right"])
    #expect(names().isEmpty)
    try await manager.request("left")
    try await manager.request("user")
    #expect(try manager.removalPlan(of: "left") == ["left"])
    #expect(try await manager.unloadWithUnused("left").others.isEmpty)
    #expect(names() == ["right", "user"])
    #expect(try await manager.unloadWithUnused("user").others == ["right"])
  }

  /// Modules that want each other, or themselves, do not keep each other.
  @Test func softDependenciesOnEachOtherKeepNone() async throws {
    await folder.add("first", #"QUIESCENT_SOFTDEP("post: second");"#)
    await folder.add("second", #"QUIESCENT_ALIAS("pair"); QUIESCENT_SOFTDEP("pre: first pair");"#)
    await folder.add("needed", #"QUIESCENT_ALIAS("own"); QUIESCENT_SOFTDEP("pre: own");"#)
    await folder.add("top", #"QUIESCENT_DEPENDS("needed"); QUIESCENT_SOFTDEP("pre: first second");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("top")
    #expect(Set(names()) == ["first", "second", "needed", "top"])
    #expect(try Set(manager.removalPlan(of: "top")) == ["first", "second", "needed", "top"])
    #expect(try await Set(manager.unloadWithUnused("top").others) == ["first", "second", "needed"])
    #expect(names().isEmpty)
  }

  @Test func aliasLoadsEveryModuleThatHasIt() async throws {
    await folder.add("udp", #"QUIESCENT_ALIAS("net-proto-1[0-9]"); QUIESCENT_ALIAS("datagram");"#)
    await folder.add("lite", #"QUIESCENT_ALIAS("net-proto-17");"#)
    try manager.setDirectory(folder.path)
    #expect(try await manager.request("net_proto-17").map(\.name) == ["lite", "udp"])
    #expect(try await manager.request("datagram").map(\.name) == ["udp"])
    let unknown = await error { () async throws(ModuleError) in try await manager.request("net-proto-7") }
    #expect(unknown?.errno == ENOENT)
    #expect(unknown?.reason.hasSuffix("has that name or an alias for it") == true)
    for name in ["udp", "lite"] { try await manager.unload(name) }
  }

  @Test func loadByPathNeedsItsDependenciesLoaded() async throws {
    let base = await folder.add("base")
    let top = await folder.add("top", #"QUIESCENT_DEPENDS("base");"#)
    let missing = await error { () async throws(ModuleError) in try await manager.load(path: top) }
    #expect(missing?.errno == ENOENT && missing?.reason == "depends on base, which is not loaded")
    #expect(!isMapped(top))
    try await manager.load(path: base)
    try await manager.load(path: top)
    #expect(
      await error { () async throws(ModuleError) in try await manager.unload("base") }?.errno == EWOULDBLOCK)
    // A second load takes no reference that it does not give back.
    #expect(
      await error { () async throws(ModuleError) in try await manager.load(path: top) }?.errno == EEXIST)
    try await manager.unload("top")
    #expect(manager.list()[0].users == 0)
    try await manager.unload("base")
  }

  /// Nothing of a failed request stays but what was there before, and the next one tries again.
  @Test func failedRequestLeavesNothingAndCanBeRepeated() async throws {
    await folder.add("base")
    let broken = await folder.add("broken", #"QUIESCENT_DEPENDS("base");"#)
    _ = await onThread {
      Compiler.module(
        """
        #include "quiescent_module.h"
        QUIESCENT_DEPENDS("base");
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h; (void)s; return -5; }
        QUIESCENT_MODULE(.name = "broken", .init = init)
        """, in: URL(filePath: folder.path), named: "broken")
    }
    await folder.add("top", #"QUIESCENT_DEPENDS("broken");"#)
    try manager.setDirectory(folder.path)
    for _ in 0..<2 {
      let failed = await error { () async throws(ModuleError) in try await manager.request("top") }
      #expect(failed?.errno == EIO && failed?.module == "top")
      #expect(failed?.reason == "needs broken: its init failed")
    }
    await whenGone("broken", manager)
    #expect(names() == ["base"])
    #expect(manager.list()[0].users == 0, "a failed module still holds what it depended on")
    #expect(!isMapped(broken))
    // Mended: the index is stale now, and that is noticed.
    await folder.add("broken", #"QUIESCENT_DEPENDS("base");"#)
    try await manager.request("top")
    #expect(names() == ["base", "broken", "top"])
    _ = try await manager.unloadWithUnused("top")
  }

  @Test func cyclesAndMissingDependenciesLoadNothing() async throws {
    await folder.add("one", #"QUIESCENT_DEPENDS("two");"#)
    await folder.add("two", #"QUIESCENT_DEPENDS("one");"#)
    await folder.add("gap", #"QUIESCENT_DEPENDS("absent");"#)
    await folder.add("wishful", #"QUIESCENT_SOFTDEP("pre: one absent");"#)
    try manager.setDirectory(folder.path)
    let cycle = await error { () async throws(ModuleError) in try await manager.request("one") }
    #expect(cycle?.errno == ELOOP && cycle?.reason == "depends on itself: one → two → one")
    #expect(await error { () async throws(ModuleError) in try await manager.request("gap") }?.errno == ENOENT)
    #expect(names().isEmpty)
    try await manager.request("wishful")
    #expect(names() == ["wishful"])
    try await manager.unload("wishful")
  }

  @Test(arguments: ["", "a/b", "../x", "a b", "*", "x\0y", String(repeating: "n", count: 10_000)])
  func invalidNamesAreRefused(_ name: String) async throws {
    await folder.add("one", #"QUIESCENT_ALIAS("known");"#)
    let before = await error { () async throws(ModuleError) in try await manager.request(name) }
    #expect(before?.errno == ENOENT && before?.reason.contains("no module directory") == true)
    try manager.setDirectory(folder.path)
    let after = await error { () async throws(ModuleError) in try await manager.request(name) }
    #expect(after?.errno == ENOENT)
    #expect(after.map { $0.description.utf8.count < 300 } == true, "a line that is too long to read")
    #expect(names().isEmpty)
  }

  @Test func requestThatWouldWaitForItselfIsRefused() async throws {
    await folder.add("one")
    try manager.setDirectory(folder.path)
    let manager = manager
    let answer = await onThread {
      Memb.read { _ -> Int32 in
        do throws(ModuleError) {
          _ = try manager.request("one")
          return 0
        } catch { return error.errno }
      }
    }
    #expect(answer == EDEADLK)
  }

  /// While the module is loaded and unloaded without a pause, no request for it fails, and many
  /// requests cause one load per generation. `REQUEST_SECONDS=60` for a long run.
  @Test func concurrentRequestsSucceedDuringUnloads() async throws {
    await folder.add("base")
    await folder.add("busy", #"QUIESCENT_DEPENDS("base"); QUIESCENT_ALIAS("nick");"#)
    try manager.setDirectory(folder.path)
    let seconds = ProcessInfo.processInfo.environment["REQUEST_SECONDS"].flatMap { Int($0) } ?? 0
    let manager = manager
    let failures = Lines(), loads = Counter(), generations = Counter(), done = Counter(), asked = Counter()
    let stream = manager.events()
    let events = Task {
      for await event in stream {
        if event.module == "busy" && event.state == .coming { loads.add(1) }
        if event.module == "busy" && event.state == .gone { generations.add(1) }
        // The last of all.
        if event.module == "base" && event.state == .gone { return }
      }
    }
    await onThreads(65) { index in
      if index == 0 {
        let start = ContinuousClock.now
        var rounds = 0
        while rounds < 200 || ContinuousClock.now - start < .seconds(seconds) {
          do throws(ModuleError) { try manager.unload("busy", ifBusy: .wait) } catch {
            // Not loaded, or held by a request that is about to be answered.
            if error.errno != ENOENT && error.errno != EWOULDBLOCK { failures.add("\(error)") }
            continue
          }
          rounds += 1
        }
        done.add(1)
      } else {
        while done.value == 0 {
          do {
            try manager.request(index % 2 == 0 ? "busy" : "nick")
            asked.add(1)
          } catch { failures.add("\(error)") }
        }
      }
    }
    #expect(failures.all.isEmpty, "\(failures.all.prefix(3))")
    #expect(asked.value > 200)
    _ = try? await manager.unload("busy", ifBusy: .wait)
    try await manager.unload("base")
    await events.value
    #expect(loads.value >= 200 && loads.value == generations.value)
    if seconds > 0 { print("requests: \(asked.value), generations: \(generations.value)") }
  }
}
