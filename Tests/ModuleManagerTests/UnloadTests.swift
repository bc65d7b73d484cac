import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

@Suite struct UnloadTests {
  typealias Argument = SampleModules.Argument
  let manager = ModuleManager()
  let point = HookPoint<Argument, Memb>(
    "point", argumentType: SampleModules.argumentType, flavor: Memb.self)

  init() { manager.provide(point) }

  private func unloadError(_ name: String, ifBusy policy: BusyPolicy = .fail) async -> ModuleError? {
    do {
      _ = try await manager.unload(name, ifBusy: policy)
      return nil
    } catch { return error }
  }

  @Test func unloadOfAModuleThatIsNotLoadedIsENOENT() async {
    #expect(await unloadError("nosuch")?.description == "nosuch: no such module is loaded (ENOENT)")
  }

  @Test func openObjectKeepsTheModule() async throws {
    try await manager.load(path: SampleModules.publishing("held"))
    #expect(manager.objects() == ["held-object"])
    let object = try manager.open("held-object", holder: "client 7")
    let error = await unloadError("held")
    #expect(error?.description == "held: in use: client 7 holds object held-object (EBUSY)")
    #expect(error?.holders == manager.list().first?.holders)
    #expect(manager.list().first?.state == .live)
    #expect(manager.list().first?.users == 1)
    #expect(try object.read(from: 0, upTo: 3) == Array("hel".utf8), "it serves on")
    object.close()
    object.close()
    #expect(throws: ModuleError.self) { try object.read(from: 0, upTo: 3) }
    #expect(await unloadError("held") == nil)
    #expect(manager.objects().isEmpty)
  }

  @Test func openObjectIsReadableDuringTheUnload() async throws {
    try await manager.load(path: SampleModules.publishing("leaving"))
    let object = try manager.open("leaving-object", holder: "client 8")
    let events = manager.events()
    async let outcome = manager.unload("leaving", ifBusy: .wait)
    for await event in events where event.state == .going { break }

    while !manager.objects().isEmpty { await Task.yield() }
    #expect(throws: ModuleError.self) { _ = try manager.open("leaving-object", holder: "late") }
    #expect(try object.read(from: 1, upTo: 100) == Array("ello".utf8))
    #expect(try object.read(from: 5, upTo: 100).isEmpty)
    #expect(await unloadError("leaving")?.errnoName == "EBUSY", "the second unload does not wait")
    #expect(await unloadError("leaving")?.reason.contains("going") == true)
    object.close()
    guard case .unloaded(let report) = try await outcome else {
      Issue.record("not unloaded")
      return
    }
    #expect(report.unmapped)
  }

  @Test func loadWaitsForAModuleThatIsGoing() async throws {
    let path = SampleModules.publishing("replaced")
    try await manager.load(path: path)
    let object = try manager.open("replaced-object", holder: "client 9")
    let events = manager.events()
    async let outcome = manager.unload("replaced", ifBusy: .wait)
    for await event in events where event.state == .going { break }
    async let again = manager.load(path: path)
    object.close()
    _ = try await outcome
    #expect(try await again.state == .live)
    try await manager.unload("replaced")
  }

  @Test func readErrorsReachTheCaller() async throws {
    try await manager.load(path: SampleModules.publishing("reading"))
    let object = try manager.open("reading-object", holder: "client")
    do {
      _ = try object.read(from: 1000, upTo: 1)
      Issue.record("it was read")
    } catch { #expect(error.description == "reading-object: cannot be read (EOVERFLOW)") }
    object.close()
    try await manager.unload("reading")
    #expect(throws: ModuleError.self) { _ = try manager.open("reading-object", holder: "client") }
  }

  @Test func moduleWithoutExitIsPermanent() async throws {
    let path = SampleModules.custom(
      "permanent",
      "static int init(const struct quiescent_host *h, struct quiescent_self *s) { return 0; }",
      ".init = init")
    try await manager.load(path: path)
    #expect(await unloadError("permanent")?.description == "permanent: permanent: it has no exit (EBUSY)")
    #expect(manager.list().first?.state == .live)
  }

  @Test func refusedExitIsRetried() async throws {
    let path = SampleModules.custom(
      "unwilling",
      """
      static int refusals = 2;
      static int hook(void *argument, void *context) { return QUIESCENT_DROP; }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return refusals-- > 0 ? -EBUSY : 0; }
      """, ".init = init, .exit = leave")
    try await manager.load(path: path)
    for _ in 0..<2 {
      #expect(await unloadError("unwilling")?.errnoName == "EBUSY")
      #expect(manager.list().first?.state == .cleanup)
      var argument = Argument()
      #expect(point.dispatch(&argument).called == 0, "its interfaces are down")
    }
    #expect(await unloadError("unwilling") == nil)
    #expect(!isMapped(path))
  }

  @Test func countTakenInAHookKeepsTheModule() async throws {
    // Takes a reference on its first call, and releases it on the second.
    let path = SampleModules.custom(
      "counting",
      """
      static struct quiescent_bigref *packets;
      static int hook(void *argument, void *context) {
        struct argument *a = argument;
        if (a->cookie) host->bigref_release(packets); else host->bigref_acquire(packets);
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        packets = h->bigref_create(s, "packets in flight");
        if (!packets) return -ENOMEM;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return host->bigref_is_zero(packets) ? 0 : -EBUSY; }
      """, ".init = init, .exit = leave")
    try await manager.load(path: path)
    var take = Argument()
    var give = Argument(calls: 0, cookie: 1)
    _ = point.dispatch(&take)
    _ = point.dispatch(&take)
    #expect(
      await unloadError("counting")?.description == "counting: in use: packets in flight × 2 (EBUSY)")
    #expect(manager.list().first?.state == .live)
    #expect(point.dispatch(&give).called == 1, "its hooks are on the point again")
    #expect(point.dispatch(&give).called == 1)
    #expect(await unloadError("counting") == nil)
    #expect(!isMapped(path))
  }

  @Test func retiredCallbacksRunBeforeTheCodeIsUnmapped() async throws {
    let path = SampleModules.custom(
      "retiring",
      """
      static int hook(void *argument, void *context) {
        int *memory = malloc(sizeof *memory);
        return host->retire(self, free, memory) ? QUIESCENT_DROP : QUIESCENT_ACCEPT;
      }
      static void last(void *argument) { *(int *)argument += 1; host->log(self, "the last callback"); free(argument); }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return host->retire(self, last, calloc(1, sizeof(int))); }
      """, ".init = init, .exit = leave")
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    for round in 1...20 {
      try await manager.load(path: path)
      var argument = Argument()
      for _ in 0..<100 { #expect(point.dispatch(&argument).verdict == .accept) }
      try await manager.unload("retiring")
      #expect(lines.all.count == round)
    }
  }

  @Test func callbacksWaitForReadersOfEveryFlavor() async throws {
    let fast = HookPoint<Argument, QSBR>(
      "fast", argumentType: SampleModules.argumentType, flavor: QSBR.self)
    manager.provide(fast)
    let path = SampleModules.custom(
      "both",
      """
      static void last(void *argument) { host->log(self, "called"); }
      static int hook(void *argument, void *context) { return host->retire(self, last, NULL); }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        int error = h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
        return error ? error : h->register_hook(s, "fast", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      """, ".init = init, .exit = leave")
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    try await manager.load(path: path)
    await onThread {
      QSBR.withOnlineReader { reader in
        var argument = Argument()
        _ = fast.dispatch(&argument, in: reader)
        _ = point.dispatch(&argument)
      }
    }
    try await manager.unload("both")
    #expect(lines.all == ["called", "called"])
  }

  @Test func unloadInsideAHookIsAnError() async throws {
    let path = SampleModules.custom(
      "selfish",
      """
      static int hook(void *argument, void *context) {
        ((struct argument *)argument)->cookie = host->unload(self);
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        if (h->unload(s) != -EDEADLK) return -EPERM;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return host->unload(self) == -EDEADLK ? 0 : -EPERM; }
      """, ".init = init, .exit = leave")
    try await manager.load(path: path)
    var argument = Argument()
    _ = point.dispatch(&argument)
    #expect(argument.cookie == -EDEADLK)

    // The same from Swift, inside a hook and inside a section.
    let manager = manager
    let hook = point.register(priority: 1) { argument in
      do throws(ModuleError) { _ = try manager.unload("selfish") } catch { argument.calls = error.errno }
      return .accept
    }
    _ = point.dispatch(&argument)
    #expect(argument.calls == EDEADLK)
    hook.unregister()
    let online = await onThread {
      QSBR.withOnlineReader { _ -> Int32 in
        do throws(ModuleError) { _ = try manager.unload("selfish") } catch { return error.errno }
        return 0
      }
    }
    #expect(online == EDEADLK)
    try await manager.unload("selfish")
  }

  @Test func imageThatStaysMappedIsResident() async throws {
    // Linked with a flag that tells the loader never to unmap it.
    let path = SampleModules.folder.appending(path: "resident.so").path
    let source = SampleModules.folder.appending(path: "resident.c")
    let code =
      SampleModules.preamble + """
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { return 0; }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "resident", .init = init, .exit = leave)
        """
    try code.write(to: source, atomically: true, encoding: .utf8)
    let include = Compiler.root.appending(path: "Sources/CModuleABI/include").path
    let built = await onThread {
      Compiler.run([
        "clang", "-shared", "-fPIC", "-Wl,-z,nodelete", "-I\(include)", "-o", path, source.path,
      ])
    }
    #expect(built.status == 0, "\(built.output)")
    try await manager.load(path: path)
    guard case .resident(let image, let reason) = try await manager.unload("resident") else {
      Issue.record("it was said to be unmapped")
      return
    }
    #expect(image.hasSuffix("resident.so"))
    #expect(reason == "it is linked with -z nodelete")
    #expect(manager.list().isEmpty)
    // The next load has an image of its own.
    try await manager.load(path: path)
    #expect(manager.list().map(\.state) == [.live])
    _ = try await manager.unload("resident")
  }
}
