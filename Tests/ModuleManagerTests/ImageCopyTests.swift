import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Each load maps a private copy, so later changes of the file and other loads of it do not matter.
@Suite struct ImageCopyTests {
  typealias Argument = SampleModules.Argument
  let folder = ModuleFolder()

  /// A hook that counts the calls of this image in the argument.
  private func counting(_ name: String, _ more: String = "", options: String...) async -> String {
    let code = Self.counting(name, more)
    let url = URL(filePath: folder.path)
    return await onThread { Compiler.module(code, in: url, named: name, options: options) }
  }

  static func counting(_ name: String, _ more: String = "") -> String {
    SampleModules.preamble + """
      \(more)
      static int calls;
      static int hook(void *argument, void *context) {
        ((struct argument *)argument)->calls = ++calls;
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        if (calls != 0) return -EIO;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)

      """
  }

  private func scene(_ copies: CopyPlace = .memory) -> (ModuleManager, HookPoint<Argument, Memb>) {
    let manager = ModuleManager(patience: .milliseconds(50), copies: copies)
    let point = HookPoint<Argument, Memb>(
      "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
    manager.provide(point)
    return (manager, point)
  }

  private func calls(_ point: HookPoint<Argument, Memb>) -> Int32 {
    var argument = Argument()
    _ = point.dispatch(&argument)
    return argument.calls
  }

  @Test(arguments: CopyPlace.allCases)
  func fileMayChangeWhileItIsLoaded(_ copies: CopyPlace) async throws {
    let path = await counting("changed")
    let (manager, point) = scene(copies)
    #expect(try await manager.load(path: path).path == path)
    #expect(calls(point) == 1)
    #expect(truncate(path, 0) == 0)
    #expect(calls(point) == 2)
    try Data(repeating: 0xcc, count: 1 << 16).write(to: URL(filePath: path))
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.write(contentsOf: Data(repeating: 0, count: 1 << 15))
    try handle.close()
    #expect(calls(point) == 3)
    #expect(try await manager.unload("changed").isUnmapped)
    #expect(await moduleError { try await manager.load(path: path) }?.errno == ENOEXEC)
  }

  @Test func twoManagersHaveTheirOwnStatics() async throws {
    let path = await counting("shared")
    let (first, firstPoint) = scene()
    let (second, secondPoint) = scene()
    try await first.load(path: path)
    #expect(calls(firstPoint) == 1 && calls(firstPoint) == 2)
    try await second.load(path: path)
    #expect(calls(secondPoint) == 1 && calls(firstPoint) == 3)
    #expect(try await first.unload("shared").isUnmapped)
    #expect(calls(secondPoint) == 2)
    #expect(try await second.unload("shared").isUnmapped)
    #expect(!isMapped(path))
  }

  @Test func secondInstanceHasItsOwnStatics() async throws {
    let path = await counting("several")
    let (manager, point) = scene()
    let one = try await manager.load(path: path)
    let two = try await manager.load(path: path, policy: ModulePolicy(instance: "several-2"))
    #expect(one.name == "several" && two.name == "several-2" && two.path == path)
    #expect(calls(point) == 1)
    let third = await moduleError {
      try await manager.load(path: path, policy: ModulePolicy(instance: "several_2"))
    }
    #expect(third?.description == "several-2: is loaded already (EEXIST)")
    let invalid = await moduleError {
      try await manager.load(path: path, policy: ModulePolicy(instance: "a/b"))
    }
    #expect(invalid?.errno == EINVAL)
    #expect(try await manager.unload("several").isUnmapped)
    #expect(calls(point) == 2)
    #expect(try await manager.unload("several-2").isUnmapped)
  }

  /// Its path may come back, and must not lead to the image that stayed.
  @Test func everyReloadOfAnImageThatStaysIsFresh() async throws {
    let path = await counting("staying", options: "-Wl,-z,nodelete")
    let (manager, point) = scene()
    for _ in 0..<100 {
      try await manager.load(path: path)
      #expect(calls(point) == 1)
      guard case .resident(path, _) = try await manager.unload("staying") else {
        Issue.record("not resident")
        return
      }
    }
  }

  @Test func imageThatStaysIsReplacedByACorrectedFile() async throws {
    let path = await counting("corrected", options: "-Wl,-z,nodelete")
    let (manager, point) = scene()
    try await manager.load(path: path)
    #expect(calls(point) == 1)
    _ = try await manager.unload("corrected")
    _ = await counting("corrected", #"QUIESCENT_INFO("license", "MIT");"#)
    try await manager.load(path: path)
    #expect(calls(point) == 1)
    #expect(try await manager.unload("corrected").isUnmapped)
  }

  @Test func symbolsOfAModuleAreThoseOfItsOwnFile() async throws {
    let base = await counting("lender", options: "-Wl,-soname,lender.so")
    let path = await onThread { [folder] in
      Compiler.module(
        "int nothing;", in: URL(filePath: folder.path), named: "borrower",
        options: ["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", base])
    }
    let (manager, _) = scene()
    let error = await moduleError { try await manager.load(path: path) }
    #expect(error?.reason == "no module: it does not export quiescent_module" && error?.errno == ENOEXEC)
    #expect(!isMapped(path) && !isMapped(base))
  }

  /// `$ORIGIN` is the file's folder, though the copy has none.
  @Test func librariesBesideTheFileAreFound() async throws {
    let url = URL(filePath: folder.path)
    let library = await onThread {
      Compiler.module(
        #"__attribute__((visibility("default"))) int helper_answer(void) { return 42; }"#, in: url,
        named: "libhelper", options: ["-Wl,-soname,libhelper.so"])
    }
    let code =
      SampleModules.preamble + """
        int helper_answer(void);
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          (void)h, (void)s;
          return helper_answer() == 42 ? 0 : -EIO;
        }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "helped", .init = init, .exit = leave)
        """
    let path = await onThread {
      Compiler.module(code, in: url, named: "helped", options: ["-Wl,-rpath,$ORIGIN", library])
    }
    let (manager, _) = scene()
    try await manager.load(path: path)
    #expect(isMapped(library))
    #expect(try await manager.unload("helped").isUnmapped)
    #expect(!isMapped(library))
  }

  /// Mappings and descriptors of the process, at cycle 100 and at the end: 1,000 cycles, and 10,000
  /// in `make storm`.
  @Test(.timeLimit(.minutes(10)), arguments: CopyPlace.allCases)
  func repeatedLoadsLeaveNothing(_ copies: CopyPlace) async throws {
    let path = await counting("cycled")
    let isInMemory = copies == .memory
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, isInMemory = isInMemory as Bool] in
      let manager = ModuleManager(patience: nil, copies: isInMemory ? .memory : .file)
      manager.provide(
        HookPoint<Argument, Memb>("point", argumentType: SampleModules.argumentType, flavor: Memb.self))
      var first: [Int] = []
      for cycle in 1...(getenv("STORM_SECONDS") == nil ? 1_000 : 10_000) {
        try await manager.load(path: path)
        guard case .unloaded(let report) = try await manager.unload("cycled"), report.unmapped else {
          fatalError("not unmapped")
        }
        if cycle == 100 { first = try ProcessUsage.mappingsAndDescriptors() }
      }
      let last = try ProcessUsage.mappingsAndDescriptors()
      if zip(last, first).contains(where: >) {
        FileHandle.standardError.write(Data("\(first), then \(last)\n".utf8))
      }
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }

  /// A file system in memory takes no seals for a file without a name.
  @Test func copyMayBeInAFolderInMemory() async throws {
    let path = await counting("shared-memory")
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String] in
      setenv("TMPDIR", "/dev/shm", 1)
      let manager = ModuleManager(patience: nil, copies: .file)
      manager.provide(
        HookPoint<Argument, Memb>("point", argumentType: SampleModules.argumentType, flavor: Memb.self))
      try await manager.load(path: path)
      let outcome = try await manager.unload("shared-memory")
      precondition(outcome.isUnmapped)
    }
    #expect(result != nil)
  }

  /// A process that is killed while a module is loaded.
  @Test(arguments: CopyPlace.allCases)
  func killedProcessLeavesNoFile(_ copies: CopyPlace) async throws {
    let path = await counting("orphaned")
    let temporary = ModuleFolder()
    let isInMemory = copies == .memory
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, folder = temporary.path as String, isInMemory = isInMemory as Bool] in
      setenv("TMPDIR", folder, 1)
      for _ in 0..<50 {
        let end = Forked.run(killedAfter: UInt32.random(in: 0..<4000)) {
          let manager = ModuleManager(patience: nil, copies: isInMemory ? .memory : .file)
          manager.provide(
            HookPoint<Argument, Memb>("point", argumentType: SampleModules.argumentType, flavor: Memb.self))
          while true {
            guard (try? manager.load(path: path)) != nil, (try? manager.unload("orphaned")) != nil else {
              return 1
            }
          }
        }
        precondition(end == .killed(signal: SIGKILL), "\(end)")
      }
    }
    #expect(result != nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path).isEmpty)
  }
}
