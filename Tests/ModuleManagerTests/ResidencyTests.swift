import Foundation
import ModuleFiles
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Images that must stay mapped are known before their code runs, and said at load; see
/// `Sources/ModuleManager/IMAGES.md`.
@Suite(.timeLimit(.minutes(10))) struct ResidencyTests {
  /// The kinds of images, by what they are made of.
  enum Kind: String, CaseIterable, Sendable {
    case fullSwift, noDelete, uniqueSymbol, threadLocalDestructor, exitHandler, quickExitHandler

    var reason: String {
      switch self {
      case .fullSwift: "it has metadata of full Swift, which the Swift runtime keeps pointers to"
      case .noDelete: "it is linked with -z nodelete"
      case .uniqueSymbol:
        "it defines 1 unique symbol (STB_GNU_UNIQUE), as C++ has for statics of templates and inline "
          + "functions"
      case .threadLocalDestructor:
        "it has thread-local variables with destructors, which run when their threads end"
      case .exitHandler: "it imports on_exit, whose handlers run when the process ends"
      case .quickExitHandler: "it imports __cxa_at_quick_exit, whose handlers run when the process ends"
      }
    }
  }

  private static func module(_ kind: Kind, in folder: URL) -> String {
    let code =
      "#define _GNU_SOURCE\n" + SampleModules.preamble + """
        #if \(kind == .exitHandler ? 1 : 0)
        static void part_end(int status, void *unused) { (void)status, (void)unused; }
        static int part_work(void) { return on_exit(part_end, NULL) + 4950; }
        #elif \(kind == .quickExitHandler ? 1 : 0)
        static void part_end(void) {}
        static int part_work(void) { return at_quick_exit(part_end) + 4950; }
        #elif \(kind == .uniqueSymbol ? 1 : 0)
        // As g++ writes a static of a template; clang does not.
        __asm__(
            ".data\\n.globl part_value\\n.type part_value, @gnu_unique_object\\n.size part_value, 4\\n"
            ".balign 4\\npart_value: .long 4950\\n.text");
        extern int part_value;
        static int part_work(void) { return part_value; }
        #elif \(kind == .noDelete ? 1 : 0)
        static int part_work(void) { return 4950; }
        #else
        int part_work(void);
        #endif
        static int hook(void *argument, void *context) {
          (void)context;
          ((struct argument *)argument)->calls = part_work();
          return QUIESCENT_ACCEPT;
        }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          host = h; self = s;
          if (part_work() != 4950) return -EIO;
          return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
        }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "staying", .init = init, .exit = leave)
        """
    let options: [String] =
      switch kind {
      case .noDelete: ["-Wl,-z,nodelete"]
      case .exitHandler, .quickExitHandler, .uniqueSymbol: []
      case .fullSwift:
        [Compiler.object(swiftPart, in: folder, named: "part.swift")] + Compiler.swiftLibraries
      case .threadLocalDestructor:
        [Compiler.object(threadLocalPart, in: folder, named: "part.cpp"), "-lstdc++"]
      }
    return Compiler.module(code, in: folder, named: "staying", options: options)
  }

  private static let swiftPart = """
    protocol Greeter { func hello() -> Int }
    struct A: Greeter, Hashable { var x = 1; func hello() -> Int { x } }
    final class Node: Hashable {
      let value: Int
      init(_ value: Int) { self.value = value }
      static func == (a: Node, b: Node) -> Bool { a.value == b.value }
      func hash(into hasher: inout Hasher) { hasher.combine(value) }
    }
    @_cdecl("part_work") public func work() -> Int32 {
      var store: [AnyHashable: Any] = [:]
      for i in 0..<100 { store[AnyHashable(Node(i))] = A(x: i) }
      return store.values.reduce(0) { $0 + Int32(($1 as? any Greeter)?.hello() ?? 0) }
    }
    """

  private static let threadLocalPart = """
    #include <string>
    static thread_local std::string text;
    extern "C" int part_work() { text = std::string(4950, 'x'); return (int)text.size(); }
    """

  /// Said at load, decided before `exit`; each reload is fresh, and the host lives on: dynamic
  /// casts, the end of threads, and the end of the process.
  @Test(arguments: Kind.allCases) func imageThatMustStayIsKnownBeforeItRuns(_ kind: Kind) async throws {
    let folder = Compiler.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = await onThread { Self.module(kind, in: folder) }
    #expect(try ModuleInfo(path: path).image.residency == kind.reason)
    let reason = kind.reason
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, reason = reason as String] in
      let manager = ModuleManager(patience: nil)
      let point = HookPoint<SampleModules.Argument, Memb>(
        "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
      manager.provide(point)
      for _ in 0..<10 {
        let status = try await manager.load(path: path)
        precondition(status.residency == reason, "\(String(describing: status.residency))")
        let calls = await onThread { () -> Int32 in
          var argument = SampleModules.Argument()
          _ = point.dispatch(&argument)
          return argument.calls
        }
        precondition(calls == 4950, "\(calls)")
        let outcome = try await manager.unload("staying")
        guard case .resident(path, reason) = outcome else { fatalError("\(outcome)") }
        // Looks through all conformances that the runtime knows of.
        precondition((manager as Any) as? any CustomReflectable == nil)
        precondition(([1] as Any) as? any Collection != nil)
      }
      precondition(manager.list().isEmpty)
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }

  @Test func imageThatIsUnmappedHasNoReason() async throws {
    let path = await onThread { SampleModules.counting("leaving") }
    #expect(try ModuleInfo(path: path).image.residency == nil)
    let manager = ModuleManager()
    manager.provide(
      HookPoint<SampleModules.Argument, Memb>(
        "point", argumentType: SampleModules.argumentType, flavor: Memb.self))
    #expect(try await manager.load(path: path).residency == nil)
    #expect(try await manager.unload("leaving").isUnmapped)
  }

  /// Handlers of `atexit()` and destructors belong to the image: the loader calls them when it
  /// unmaps the image, and the end of the process does not call them again.
  @Test(arguments: ["atexit(part_end);", "mark = part_end;"])
  func handlersOfTheImageRunAtTheUnload(registration: String) async throws {
    let folder = Compiler.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let code =
      "#define _GNU_SOURCE\n" + SampleModules.preamble + """
        #include <stdio.h>
        #include <unistd.h>
        // To a descriptor and not to a stream: nothing of it is left for the end of the process.
        static void part_end(void) { dprintf(STDERR_FILENO, "ended;"); }
        static void (*volatile mark)(void);
        __attribute__((destructor)) static void destroy(void) { if (mark != NULL) mark(); }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          host = h; self = s;
          \(registration)
          return 0;
        }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "ending", .init = init, .exit = leave)
        """
    let path = await onThread { Compiler.module(code, in: folder, named: "ending") }
    #expect(try ModuleInfo(path: path).image.residency == nil)
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String] in
      let manager = ModuleManager()
      for _ in 0..<3 {
        _ = try await manager.load(path: path)
        let outcome = try await manager.unload("ending")
        precondition(outcome.isUnmapped, "\(outcome)")
      }
    }
    #expect(result.errorOutput == "ended;ended;ended;")
  }
}
