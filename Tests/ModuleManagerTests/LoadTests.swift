import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

@Suite struct LoadTests {
  typealias Argument = SampleModules.Argument
  let manager = ModuleManager()
  let point = HookPoint<Argument, Memb>(
    "point", argumentType: SampleModules.argumentType, flavor: Memb.self)

  init() { manager.provide(point) }

  private func loadError(_ path: String) async -> ModuleError? {
    do {
      _ = try await manager.load(path: path)
      return nil
    } catch { return error }
  }

  @Test func moduleIsLoadedCalledAndUnmapped() async throws {
    let path = SampleModules.counting("whole")
    let status = try await manager.load(path: path)
    #expect(status.name == "whole")
    #expect(status.version == "1.2")
    #expect(status.summary == "counts")
    #expect(status.state == .live)
    #expect(status.hookPoints == ["point"])
    #expect(status.size >= 4096)
    #expect(manager.list().map(\.name) == ["whole"])
    #expect(isMapped(path))

    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    #expect(argument.cookie == 4711)

    let outcome = try await manager.unload("whole")
    guard case .unloaded(let report) = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(report.module == "whole")
    #expect(report.unmapped)
    #expect(!isMapped(path))
    #expect(manager.list().isEmpty)
    #expect(point.dispatch(&argument).called == 0)
  }

  @Test func blockingFormsWorkOnAnyThread() async {
    let path = SampleModules.counting("blocking")
    let manager = manager
    let gone = await onThread {
      do {
        try manager.load(path: path)
        return try manager.unload("blocking") != .resident(image: path, reason: "")
      } catch { return false }
    }
    #expect(gone)
    #expect(!isMapped(path))
  }

  @Test func repeatedLoadsLeaveNothingBehind() async throws {
    let path = SampleModules.counting("again")
    for _ in 0..<50 {
      try await manager.load(path: path)
      try await manager.unload("again")
    }
    #expect(!isMapped(path))
  }

  @Test func eventsFollowTheModulesLife() async throws {
    let events = manager.events()
    let path = SampleModules.counting("eventful")
    try await manager.load(path: path)
    try await manager.unload("eventful")
    var states: [ModuleState] = []
    for await event in events {
      #expect(event.module == "eventful")
      states.append(event.state)
      if event.state == .gone { break }
    }
    #expect(states == [.coming, .live, .going, .gone])
  }

  @Test func missingFileIsENOENT() async {
    let error = await loadError("/nowhere/nosuch.so")
    #expect(error?.description == "/nowhere/nosuch.so: no such file (ENOENT)")
  }

  @Test func directoriesAndDevicesAreRefused() async {
    #expect(await loadError(SampleModules.folder.path)?.errnoName == "EISDIR")
    #expect(await loadError("/dev/null")?.errnoName == "EINVAL")
  }

  @Test(arguments: [
    ("hello, I am a text", "not an ELF file"),
    ("", "not an ELF file"),
    ("\u{7f}ELF", "the ELF file is cut short"),
  ])
  func otherFilesThanELFAreENOEXEC(_ content: String, _ reason: String) async throws {
    let file = SampleModules.folder.appending(path: "\(UUID().uuidString).so")
    try content.write(to: file, atomically: true, encoding: .utf8)
    let error = await loadError(file.path)
    #expect(error?.errnoName == "ENOEXEC")
    #expect(error?.reason == reason)
  }

  @Test func programIsRefused() async {
    let error = await loadError("/proc/self/exe")
    // Position-independent programs are of the type of shared objects: the loader refuses them.
    #expect(error?.errnoName == "ENOEXEC" || error?.errnoName == "EEXIST")
  }

  @Test func libraryIsRefused() async {
    let path = Compiler.module("int nothing;", in: SampleModules.folder, named: "library")
    let error = await loadError(path)
    #expect(error?.errnoName == "ENOEXEC")
    #expect(error?.reason == "no module: it does not export quiescent_module")
    #expect(!isMapped(path))
  }

  @Test func anotherABIIsRefused() async {
    let path = SampleModules.build(
      "alien",
      """
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { return 0; }
      __attribute__((visibility("default"))) extern const struct quiescent_module quiescent_module;
      const struct quiescent_module quiescent_module = { 99, sizeof(struct quiescent_module), "alien", .init = init };
      """)
    let error = await loadError(path)
    #expect(error?.errnoName == "ENOEXEC")
    #expect(error?.reason == "built for module ABI 99, this host has 1")
    #expect(!isMapped(path))
  }

  @Test func unresolvedSymbolsAreNamed() async {
    let path = SampleModules.custom(
      "needy",
      """
      int missing_function(void);
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { return missing_function(); }
      """, ".init = init")
    let error = await loadError(path)
    #expect(error?.errnoName == "ENOEXEC")
    #expect(error?.reason == "cannot be mapped: undefined symbol: missing_function")
  }

  @Test func badNameIsRefused() async {
    let path = SampleModules.build(
      "badname",
      """
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { return 0; }
      QUIESCENT_MODULE(.name = "../up", .init = init)
      """)
    #expect(await loadError(path)?.errnoName == "EINVAL")
  }

  @Test func secondLoadOfAFileOrANameIsRefused() async throws {
    let path = SampleModules.counting("twice")
    try await manager.load(path: path)
    #expect(await loadError(path)?.description == "twice: is loaded already (EEXIST)")

    let copy = SampleModules.folder.appending(path: "copy-of-twice.so").path
    try FileManager.default.copyItem(atPath: path, toPath: copy)
    #expect(await loadError(copy)?.description == "twice: a module of this name is loaded already (EEXIST)")
    #expect(!isMapped(copy))
    try await manager.unload("twice")
    try await manager.load(path: copy)
    try await manager.unload("twice")
  }

  @Test func failingInitLeavesNothing() async {
    let path = SampleModules.custom(
      "failing",
      """
      static int hook(void *argument, void *context) { return QUIESCENT_DROP; }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        int error = h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
        return error ? error : -ENODEV;
      }
      static int leave(void) { abort(); }
      """, ".init = init, .exit = leave")
    #expect(await loadError(path)?.description == "failing: its init failed (ENODEV)")
    await whenGone("failing", manager)
    #expect(!isMapped(path))
    #expect(manager.list().isEmpty)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 0)
  }

  @Test func registrationErrorsReachTheModule() async {
    let path = SampleModules.custom(
      "wrong",
      """
      static int hook(void *argument, void *context) { return 0; }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        if (h->register_hook(s, "nowhere", "\(SampleModules.argumentType)", 0, hook, NULL) != -ENOENT) return -1;
        if (h->register_hook(s, "point", "other.1", 0, hook, NULL) != -EPROTOTYPE) return -2;
        if (h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, NULL, NULL) != -EINVAL) return -3;
        if (h->publish(s, "a b", NULL, NULL) != -EINVAL) return -4;
        return -EOWNERDEAD;
      }
      """, ".init = init")
    #expect(await loadError(path)?.errnoName == "EOWNERDEAD")
  }

  @Test func logLinesReachTheHost() async throws {
    let lines = Lines()
    manager.setLog { module, line in lines.add("\(module): \(line)") }
    let path = SampleModules.custom(
      "chatty",
      """
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        h->log(s, "hello");
        return 0;
      }
      static int leave(void) { return 0; }
      """, ".init = init, .exit = leave")
    try await manager.load(path: path)
    try await manager.unload("chatty")
    #expect(lines.all == ["chatty: hello"])
  }
}
