import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// A crash names its module, also one that is gone, and the process dies as it would have.
@Suite(.timeLimit(.minutes(10))) struct CrashReportTests {
  private static let crash = """
    __attribute__((unused)) static void crash(void) { *(volatile int *)16 = 0; }

    """

  /// A module that crashes in `place`, which is a statement of one of its functions.
  private static func module(
    _ name: String, hook: String = "", initialize: String = "", exit: String = "return 0;",
    functions: String = ""
  ) -> String {
    Misbehavior.module(
      name, hook: hook, initialize: initialize, exit: exit, functions: crash + functions,
      members: ", .version = \"1.2\"")
  }

  /// What the child of a test does: loads the module, calls its hook, unloads it.
  private static func live(_ path: String) async throws -> ModuleManager {
    try CrashReports.install()
    let scene = Misbehavior(isPatient: true)
    let status = try await scene.manager.load(path: path)
    _ = scene.call()
    try await scene.manager.unload(status.name, ifBusy: .wait)
    return scene.manager
  }

  private static func lines(_ result: ExitTest.Result?) -> [String] {
    result.errorOutput.split(separator: "\n").map(String.init)
  }

  /// Where the code of a module crashes; the report is the same.
  static let places = ["hook", "init", "exit", "retired", "worker"]

  @Test(arguments: places)
  func crashNamesTheModule(_ place: String) async throws {
    let path = await onThread {
      switch place {
      case "hook": Self.module("crashing", hook: "crash();")
      case "init": Self.module("crashing", initialize: "crash();")
      case "exit": Self.module("crashing", exit: "crash(); return 0;")
      case "retired":
        Self.module(
          "crashing", hook: "host->retire(self, fall, NULL);",
          functions: "static void fall(void *unused) { (void)unused; crash(); }\n")
      default:
        Self.module(
          "crashing", initialize: "h->services->start_worker(s, \"falling\", fall, NULL);",
          functions: "static void fall(void *unused) { (void)unused; crash(); }\n")
      }
    }
    let result = await #expect(processExitsWith: .signal(SIGSEGV), observing: [\.standardErrorContent]) {
      [path = path as String] in
      _ = try await Self.live(path)
    }
    let lines = Self.lines(result)
    try #require(lines.count >= 2, "\(lines)")
    #expect(lines[0].hasPrefix("quiescence: SIGSEGV at address 0x10, thread "), "\(lines)")
    #expect(lines[1].hasPrefix("  in crashing 1.2+0x"), "\(lines)")
    #expect(lines[1].contains(" (loaded for ") && lines[1].hasSuffix("\(path))"), "\(lines)")
    if place == "worker" { #expect(lines[0].hasSuffix(" (falling)")) }
  }

  @Test func crashOfAConstructorNamesTheModule() async throws {
    let path = await onThread {
      Self.module("early", functions: "__attribute__((constructor)) static void begin(void) { crash(); }\n")
    }
    let result = await #expect(processExitsWith: .signal(SIGSEGV), observing: [\.standardErrorContent]) {
      [path = path as String] in
      _ = try await Self.live(path)
    }
    let lines = Self.lines(result)
    #expect(lines.contains("  in the loader, which maps early 1.2 (\(path))"), "\(lines)")
  }

  /// A call of a function whose module is gone: the report names it, and the module that calls.
  @Test func crashInUnmappedCodeNamesTheModuleThatIsGone() async throws {
    let (gone, calling) = await onThread {
      (
        Self.module(
          "old", hook: "char line[32]; sprintf(line, \"%p\", (void *)hook); host->log(self, line);",
          functions: "#include <stdio.h>\nstatic int hook(void *, void *);\n"),
        Self.module(
          "calling",
          hook: """
            char *gone = getenv("GONE");
            if (gone) ((int (*)(void))strtoull(gone, NULL, 16))();
            """)
      )
    }
    let result = await #expect(processExitsWith: .signal(SIGSEGV), observing: [\.standardErrorContent]) {
      [gone = gone as String, calling = calling as String] in
      try CrashReports.install()
      let scene = Misbehavior(isPatient: true)
      let lines = Lines()
      scene.manager.setLog { _, line in lines.add(line) }
      try await scene.manager.load(path: gone)
      // Before the other has gone: it would be mapped in its place.
      try await scene.manager.load(path: calling)
      _ = scene.call()
      try await scene.manager.unload("old")
      setenv("GONE", lines.all[0], 1)
      _ = scene.call()
    }
    let lines = Self.lines(result)
    try #require(lines.count >= 3, "\(lines)")
    #expect(lines[1].hasPrefix("  in old 1.2+0x") && lines[1].contains(" (unmapped for "), "\(lines)")
    #expect(lines[1].hasSuffix("\(gone))"))
    #expect(lines.dropFirst(2).contains { $0.hasPrefix("  returns to calling 1.2+0x") }, "\(lines)")
  }

  /// `abort()` in a module: the stack leads to it.
  @Test func abortNamesTheModuleThatCalls() async throws {
    let path = await onThread { Self.module("aborting", hook: "abort();") }
    let result = await #expect(processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]) {
      [path = path as String] in
      _ = try await Self.live(path)
    }
    let lines = Self.lines(result)
    #expect(lines.first?.hasPrefix("quiescence: SIGABRT, thread ") == true, "\(lines)")
    #expect(lines.contains { $0.hasPrefix("  returns to aborting 1.2+0x") }, "\(lines)")
  }

  /// Several threads at once: one report, and an end.
  @Test func threadsThatCrashTogetherMakeOneReport() async throws {
    let path = await onThread { Self.module("common", hook: "crash();") }
    let result = await #expect(processExitsWith: .signal(SIGSEGV), observing: [\.standardErrorContent]) {
      [path = path as String] in
      try CrashReports.install()
      let scene = Misbehavior(isPatient: true)
      try await scene.manager.load(path: path)
      let point = scene.point
      await onThreads(8) { _ in
        var argument = SampleModules.Argument()
        _ = point.dispatch(&argument)
      }
    }
    let lines = Self.lines(result)
    #expect(lines.filter { $0.hasPrefix("quiescence: ") }.count == 1, "\(lines)")
    #expect(lines.filter { $0.hasPrefix("  in common 1.2+0x") }.count == 1, "\(lines)")
  }

  /// A pipe that is full, and that no thread reads: the process ends all the same.
  @Test func fullPipeDoesNotHangTheCrash() async throws {
    let path = await onThread { Self.module("crashing", hook: "crash();") }
    await #expect(processExitsWith: .signal(SIGSEGV)) { [path = path as String] in
      var ends: [Int32] = [0, 0]
      precondition(pipe(&ends) == 0)
      _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
      while write(ends[1], "x", 1) == 1 {}
      _ = fcntl(ends[1], F_SETFL, 0)
      // A second call moves the reports.
      try CrashReports.install()
      try CrashReports.install(writingTo: ends[1])
      let scene = Misbehavior(isPatient: true)
      try await scene.manager.load(path: path)
      _ = scene.call()
    }
  }

  /// A handler of the host's own gets the signal after the report.
  @Test func handlerThatWasThereBeforeIsCalled() async throws {
    let path = await onThread { Self.module("crashing", hook: "crash();") }
    let result = await #expect(processExitsWith: .exitCode(42), observing: [\.standardErrorContent]) {
      [path = path as String] in
      signal(SIGSEGV) { _ in _exit(42) }
      _ = try await Self.live(path)
    }
    #expect(Self.lines(result).first?.hasPrefix("quiescence: SIGSEGV at address 0x10") == true)
  }

  /// A signal that another process sends is no crash of a module, and ends the process as ever.
  @Test func signalThatIsSentEndsTheProcess() async throws {
    for number in [SIGSEGV, SIGABRT, SIGTRAP, SIGFPE] {
      let result = await #expect(processExitsWith: .signal(number), observing: [\.standardErrorContent]) {
        [number = number as Int32] in
        try CrashReports.install()
        kill(getpid(), number)
        while true { pause() }
      }
      let lines = Self.lines(result)
      #expect(lines.count == 2 && lines[1].hasPrefix("  in no module, at 0x"), "\(lines)")
    }
  }

  @Test func stackOverflowIsReportedWhereThereIsAStackForSignals() async throws {
    let path = await onThread {
      Self.module(
        "deep", hook: "a->calls = dig(a->calls);",
        functions: """
          static int dig(int depth) {
            volatile char room[4096];
            room[depth & 4095] = 1;
            return depth < 0 ? 0 : dig(depth + 1) + room[(depth + 1) & 4095];
          }

          """)
    }
    let result = await #expect(processExitsWith: .signal(SIGSEGV), observing: [\.standardErrorContent]) {
      [path = path as String] in
      try CrashReports.install()
      let scene = Misbehavior(isPatient: true)
      try await scene.manager.load(path: path)
      await onThreads(1) { _ in
        var stack = stack_t()
        stack.ss_size = 65_536
        stack.ss_sp = malloc(stack.ss_size)
        sigaltstack(&stack, nil)
        _ = scene.call()
      }
    }
    let lines = Self.lines(result)
    #expect(lines.count > 2 && lines[1].hasPrefix("  in deep 1.2+0x"), "\(result.errorOutput)")
    #expect(lines.filter { $0.hasPrefix("  returns to deep 1.2+0x") }.count >= 2, "\(lines)")
  }

  @Test func descriptorThatIsNotOpenIsRefused() {
    var refused: ModuleError?
    do throws(ModuleError) { try CrashReports.install(writingTo: 1_000_000) } catch { refused = error }
    #expect(refused?.description == "crash reports: descriptor 1000000 is not open (EBADF)")
  }

  // MARK: - Addresses

  /// An address names its module while that is loaded and when it is gone; status and record have
  /// the bounds.
  @Test func addressNamesItsModule() async throws {
    let scene = Misbehavior()
    let path = Self.module("addressed")
    let status = try await scene.manager.load(path: path)
    let addresses = try #require(status.addresses)
    #expect(addresses.count == status.size)
    let inside = try #require(UnsafeRawPointer(bitPattern: addresses.lowerBound + 17))
    let found = try #require(ModuleAddress(inside))
    #expect(found.module == "addressed" && found.version == "1.2" && found.path == path)
    #expect(found.offset == 17 && found.isMapped)
    #expect(found.description == "addressed 1.2+0x11 (mapped, \(path))")
    try await scene.manager.unload("addressed")
    #expect(scene.manager.lastUnloaded?.addresses == addresses)
    // Another test's module may have been mapped there since.
    let after = try #require(ModuleAddress(inside))
    #expect(after.module != "addressed" || !after.isMapped)
    let local = 0
    withUnsafePointer(to: local) { #expect(ModuleAddress($0) == nil) }
  }

  /// The table keeps what is loaded when more modules come and go than it has places.
  @Test func loadedModulesKeepTheirRecords() async throws {
    let scene = Misbehavior()
    let kept = try await scene.manager.load(path: Self.module("kept"))
    let passing = Self.module("passing")
    for _ in 0..<300 {
      try await scene.manager.load(path: passing)
      try await scene.manager.unload("passing", ifBusy: .wait)
    }
    let start = try #require(kept.addresses).lowerBound
    #expect(ModuleAddress(try #require(UnsafeRawPointer(bitPattern: start)))?.module == "kept")
  }
}
