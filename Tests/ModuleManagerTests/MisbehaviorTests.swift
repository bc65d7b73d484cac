import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Each thing that a module may do wrong, as a real image; see
/// `Sources/ModuleManager/MISBEHAVIOR.md`.
@Suite(.timeLimit(.minutes(20))) struct MisbehaviorTests {
  /// `exit` that does not return, with every scheme: it is said where it is, nothing else waits,
  /// and it goes when it returns.
  @Test(arguments: UnloadScheme.all)
  func exitThatHangsHoldsUpItsModuleAlone(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let gate = Misbehavior.Gate()
    let path = Misbehavior.module("hangexit", exit: "\(gate.wait) return 0;")
    try await scene.manager.load(path: path)
    let late = await scene.unloadError("hangexit", inside: .exit)
    #expect(late?.errno == ETIMEDOUT)
    #expect(
      late?.reason.hasPrefix("waited 0.02 seconds, exit has not returned for ") == true, "\(late as Any)")
    let status = try #require(scene.status("hangexit"))
    #expect(status.state == .going && status.activity?.kind == .exit)
    let thread = try #require(status.activity?.thread)
    #expect(FileManager.default.fileExists(atPath: "/proc/self/task/\(thread)"))
    #expect(status.activity?.description.hasSuffix(", thread \(thread)") == true)
    try await scene.expectOthersGoOn()
    // Asked again: said, joined, and not given up where nothing leads back.
    let again = await scene.unloadError("hangexit", ifBusy: .fail)
    #expect(again?.errno == EBUSY && again?.reason.hasPrefix("is going already (exit has not") == true)
    #expect(await scene.unloadError("hangexit")?.errno == ETIMEDOUT)
    let load = await moduleError { try await scene.manager.load(path: path, within: .milliseconds(20)) }
    #expect(load?.errno == ETIMEDOUT && load?.reason.contains("is going (exit has not") == true)
    let attempt = try #require(scene.manager.unloadAttempt(of: "hangexit"))
    #expect(attempt.activity?.kind == .exit && !attempt.isOver)
    #expect(await moduleError { try await attempt.cancel() }?.errno == EBUSY)
    let last = scene.manager.unloadLater("hangexit", ifBusy: .wait)
    gate.open()
    #expect(try await last.outcome.isUnmapped)
    #expect(attempt.isOver && !isMapped(path))
    #expect(await moduleError { try await attempt.cancel() }?.errno == ENOENT)
    try await scene.expectOthersGoOn()
  }

  @Test func initThatHangsHoldsUpItsModuleAlone() async throws {
    let scene = Misbehavior()
    let gate = Misbehavior.Gate()
    let path = Misbehavior.module("hanginit", initialize: gate.wait)
    let late = await scene.loadError(path, of: "hanginit", inside: .initialize)
    #expect(late?.errno == ETIMEDOUT)
    #expect(late?.reason.contains("is coming (init has not returned for ") == true, "\(late as Any)")
    #expect(scene.status("hanginit")?.activity?.kind == .initialize)
    try await scene.expectOthersGoOn()
    let cancellation = WaitCancellation()
    let manager = scene.manager
    async let cancelled = onThread { () -> Int32 in
      do throws(ModuleError) { try manager.load(path: path, cancelledBy: cancellation) } catch {
        return error.errno
      }
      return 0
    }
    cancellation.cancel()
    #expect(await cancelled == EINTR)
    let task = Task { try await manager.load(path: path) }
    task.cancel()
    let result = await task.result
    #expect(await moduleError { try result.get() }?.errno == ECANCELED)
    #expect(await scene.unloadError("hanginit")?.errno == EBUSY)
    // What has begun goes on.
    async let loads = moduleError { try await manager.load(path: path) }
    gate.open()
    #expect(await loads?.errno == EEXIST)
    #expect(scene.status("hanginit")?.state == .live && scene.call() == 1)
    #expect(try await manager.unload("hanginit").isUnmapped)
  }

  /// In a process of its own: meanwhile no other image can be mapped.
  @Test func constructorThatHangsIsShownAtItsModule() async throws {
    let gate = Misbehavior.Gate()
    let path = Misbehavior.module(
      "hangconstructor",
      functions: "__attribute__((constructor)) static void construct(void) { \(gate.wait) }")
    let file = gate.path
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, file = file as String] in
      let scene = Misbehavior()
      let late = await moduleError {
        try await scene.manager.load(path: path, within: .milliseconds(100))
      }
      precondition(late?.errno == ETIMEDOUT, "\(late as Any)")
      precondition(
        late?.reason.contains("is unformed (the loader has not mapped it for ") == true, "\(late as Any)")
      let status = scene.status("hangconstructor")
      precondition(status?.state == .unformed && status?.activity?.kind == .map && status?.path == path)
      precondition(scene.call() == 0 && scene.manager.objects().isEmpty)
      let busy = await scene.unloadError("hangconstructor", ifBusy: .fail)
      precondition(busy?.errno == EBUSY, "\(busy as Any)")
      let again = await moduleError {
        try await scene.manager.load(path: path, within: .milliseconds(20))
      }
      precondition(again?.errno == ETIMEDOUT, "\(again as Any)")
      // Both loads are over: the image is unmapped again, and the next load is as any other.
      precondition(FileManager.default.createFile(atPath: file, contents: nil))
      await scene.whenGone("hangconstructor")
      precondition(!isMapped(path))
      try await scene.manager.load(path: path)
      precondition(scene.call() == 1)
      let outcome = try await scene.manager.unload("hangconstructor")
      precondition(outcome.isUnmapped)
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }

  /// Every other function of a module that may hang, by the scheme that calls it.
  enum Function: String, CaseIterable { case stop, cleanup, usecount, set, observer }

  @Test(arguments: Function.allCases)
  func functionsThatHangHoldUpTheirModuleAlone(_ function: Function) async throws {
    let scheme: [Function: UnloadScheme] = [.stop: .startStopExit, .cleanup: .activeBit]
    let scene = Misbehavior(scheme[function] ?? .bigref)
    let gate = Misbehavior.Gate()
    let name = "hang\(function)"
    let members: [Function: String] = [
      .stop: ", .stop = stop", .cleanup: ", .cleanup = cleanup", .usecount: ", .usecount = usecount",
    ]
    let path = Misbehavior.module(
      name,
      functions: """
        static void stop(void) __attribute__((unused));
        static void stop(void) { \(gate.wait) }
        static int cleanup(int force) __attribute__((unused));
        static int cleanup(int force) { (void)force; \(gate.wait) return 0; }
        static int64_t usecount(void) __attribute__((unused));
        static int64_t usecount(void) { \(gate.wait) return 0; }
        static int64_t limit;
        static int set(const struct quiescent_parameter *p, const void *value, size_t count) {
          (void)p, (void)value, (void)count;
          \(gate.wait)
          return 0;
        }
        QUIESCENT_PARAMETER(limit, int, "a limit", .flags = QUIESCENT_WRITABLE, .set = set);
        """, members: members[function] ?? "")
    let manager = scene.manager
    switch function {
    case .observer:
      manager.add(
        ModuleObserver(
          "slow",
          willLoad: { module, _ in
            if module == name { while access(gate.path, F_OK) != 0 { usleep(1000) } }
            return nil
          }))
      let late = await scene.error(whenCancelledInside: .observers, of: name) {
        () async throws(ModuleError) in
        try await manager.load(path: path)
      }
      #expect(late?.errno == ECANCELED && late?.reason.contains("observers have not returned") == true)
    case .set:
      try await manager.load(path: path)
      let late = await scene.error(whenCancelledInside: .set, of: name) { () async throws(ModuleError) in
        try await manager.set("limit", of: name, to: "7")
      }
      #expect(
        late?.errno == ECANCELED && late?.reason.contains("set has not returned for") == true,
        "\(late as Any)")
      let busy = await scene.unloadError(name, ifBusy: .fail)
      #expect(busy?.errno == EBUSY && busy?.holders.map(\.label) == ["set limit"])
    default:
      try await manager.load(path: path)
      let kind = ModuleActivity.Kind(rawValue: "\(function)")
      let late = await scene.error(whenCancelledInside: kind, of: name) { () async throws(ModuleError) in
        try await manager.unload(name, ifBusy: function == .usecount ? .fail : .wait)
      }
      #expect(late?.errno == ECANCELED && late?.reason.contains("\(function) has not returned for") == true)
    }
    try await scene.expectOthersGoOn()
    gate.open()
    switch function {
    // None of its code has run, and none runs for a request that is over.
    case .observer: await scene.whenGone(name)
    case .set: while scene.status(name)?.users != 0 { await Task.yield() }
    default: break
    }
    while scene.status(name) != nil {
      _ = await moduleError { try await manager.unload(name, ifBusy: .wait) }
    }
    #expect(!isMapped(path))
  }

  /// A callback that retires itself, and one that does not return: neither the module's barrier nor
  /// anything else's.
  @Test(arguments: [true, false])
  func callbacksThatNeverEndHoldUpTheirModuleAlone(_ isEndless: Bool) async throws {
    let scene = Misbehavior()
    let gate = Misbehavior.Gate()
    let body =
      isEndless
      ? "if (access(gate_path, F_OK) != 0) host->retire(self, callback, argument);"
      : "(void)argument; \(gate.wait)"
    let path = Misbehavior.module(
      "endless", initialize: "h->retire(s, callback, NULL);",
      functions: """
        static const char *gate_path __attribute__((unused)) = "\(gate.path)";
        static void callback(void *argument) { \(body) }
        """)
    try await scene.manager.load(path: path)
    // The flavor's own reclaimer runs on.
    await Memb.barrier()
    try await scene.expectOthersGoOn()
    let late = await scene.unloadError("endless", inside: .callbacks)
    #expect(late?.errno == ETIMEDOUT)
    #expect(late?.reason.contains("what it retired has not run for") == true, "\(late as Any)")
    try await scene.expectOthersGoOn()
    await Memb.barrier()
    // Those that are unloaded with it do not wait for it.
    let others = ["one", "two"].map {
      Misbehavior.module("beside-\($0)", exit: "return host->retire(self, free, malloc(8));")
    }
    for other in others { try await scene.manager.load(path: other) }
    let last = scene.manager.unloadLater("endless", ifBusy: .wait)
    for unload in try await scene.manager.unload(together: ["beside-one", "beside-two"]) {
      #expect(try unload.result.get().isUnmapped)
    }
    gate.open()
    #expect(try await last.outcome.isUnmapped)
    #expect(!isMapped(path))
  }

  /// A module with hooks under several flavors, whose callbacks retire in turn: each of them is
  /// waited for, under every flavor.
  @Test(arguments: [true, false])
  func unloadWaitsForChainedCallbacksOfEveryFlavor(_ isPatient: Bool) async {
    await #expect(processExitsWith: .exitCode(23)) { [isPatient] in
      let manager = isPatient ? ModuleManager(patience: nil) : ModuleManager()
      let type = SampleModules.argumentType
      manager.provide(HookPoint<SampleModules.Argument, Memb>("point", argumentType: type, flavor: Memb.self))
      manager.provide(HookPoint<SampleModules.Argument, MB>("second", argumentType: type, flavor: MB.self))
      manager.provide(
        HookPoint<SampleModules.Argument, Bulletproof>("third", argumentType: type, flavor: Bulletproof.self))
      let lines = Lines()
      manager.setLog { _, line in lines.add(line) }
      let path = Misbehavior.module(
        "chain",
        initialize: """
          if (h->register_hook(s, "second", "\(type)", 0, hook, NULL) != 0) return -EIO;
          if (h->register_hook(s, "third", "\(type)", 0, hook, NULL) != 0) return -EIO;
          h->retire(s, callback, NULL);
          """,
        functions: """
          static void callback(void *argument) {
            host->log(self, "called");
            if ((intptr_t)argument < 19) host->retire(self, callback, (char *)argument + 1);
            // So that the turn is handed over.
            usleep(500);
          }
          """)
      try await manager.load(path: path)
      let outcome = try await manager.unload("chain", ifBusy: .wait)
      guard outcome.isUnmapped, lines.all == [String](repeating: "called", count: 20) else { exit(1) }
      // What is left would run in here.
      await Memb.barrier()
      await MB.barrier()
      exit(23)
    }
  }

  /// A hook that blocks: the grace period of its flavor does not end, so exactly the unloads that
  /// need it wait, and can be given up.
  @Test func hookThatBlocksHoldsUpTheUnloadsThatNeedItsFlavor() async {
    await #expect(processExitsWith: .exitCode(23)) {
      let scene = Misbehavior()
      let gate = Misbehavior.Gate()
      let manager = scene.manager
      try await manager.load(
        path: Misbehavior.module("blockhook", hook: "if (a->cookie == 'B') { \(gate.wait) }"))
      try await manager.load(path: Misbehavior.module("innocent"))
      try await manager.load(path: Misbehavior.module("counted"), policy: ModulePolicy(scheme: .oneAtomic))
      let isInside = Counter()
      let point = scene.point
      async let blocked: Void = onThread {
        var argument = SampleModules.Argument(calls: 0, cookie: Int32(UInt8(ascii: "B")))
        isInside.add(1)
        _ = point.dispatch(&argument)
      }
      while isInside.value == 0 { await Task.yield() }
      for name in ["blockhook", "innocent", "innocent"] {
        let late = await scene.unloadError(name, inside: .readers)
        guard late?.errno == ETIMEDOUT, late?.reason.contains("calls of its hooks have not returned") == true
        else {
          print("\(late as Any)")
          exit(1)
        }
        // Given up, it serves on, in its old place.
        guard scene.status(name)?.state == .live, scene.call() == 3 else { exit(2) }
      }
      async let waiting = manager.unload("innocent", ifBusy: .wait)
      while scene.status("innocent")?.activity?.kind != .readers { await Task.yield() }
      // What needs no grace period goes on, though one is stuck; and so do loads.
      try await manager.load(path: Misbehavior.module("late"))
      guard try await manager.unload("counted", ifBusy: .wait).isUnmapped else { exit(3) }
      gate.open()
      await blocked
      guard try await waiting.isUnmapped else { exit(4) }
      for unload in try await manager.unload(together: ["late", "blockhook"], ifBusy: .wait) {
        guard try unload.result.get().isUnmapped else { exit(5) }
      }
      exit(23)
    }
  }

  /// A log that its handler does not take: the module that logs waits, and no other.
  @Test func logThatBlocksHoldsUpItsModuleAlone() async throws {
    let scene = Misbehavior()
    let isOpen = Counter()
    scene.manager.setLog { module, _ in
      if module == "flood" { while isOpen.value == 0 { usleep(1000) } }
    }
    let path = Misbehavior.module(
      "flood", initialize: "for (int i = 0; i < 4000; i++) host->log(self, \"0123456789\");")
    let late = await scene.loadError(path, of: "flood", inside: .initialize)
    #expect(late?.errno == ETIMEDOUT)
    try await scene.expectOthersGoOn()
    isOpen.add(1)
    while scene.status("flood")?.state != .live { await Task.yield() }
    #expect(try await scene.manager.unload("flood").isUnmapped)
  }
}
