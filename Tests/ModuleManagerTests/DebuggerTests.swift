import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// A debugger finds the names of a module's functions, though its image has no file of its own.
@Suite struct DebuggerTests {
  static let isThere = FileManager.default.isExecutableFile(atPath: "/usr/bin/gdb")

  @Test(.enabled(if: isThere, "gdb is not installed"), .timeLimit(.minutes(5)), arguments: CopyPlace.allCases)
  func backtraceHasTheFunctionsOfAModule(_ copies: CopyPlace) async throws {
    let path = await onThread {
      SampleModules.custom(
        "debugged-\(copies)",
        """
        #include <sched.h>
        static volatile int isInside, isOver;
        __attribute__((noinline)) static int function_of_the_module(int *calls) {
          isInside = 1;
          while (!isOver) sched_yield();
          return *calls += 1;
        }
        static int hook(void *argument, void *context) {
          (void)context;
          return function_of_the_module(argument) < 0 ? QUIESCENT_DROP : QUIESCENT_ACCEPT;
        }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
        }
        static int leave(void) { return 0; }
        """, ".init = init, .exit = leave")
    }
    let isInMemory = copies == .memory
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, isInMemory = isInMemory as Bool] in
      let manager = ModuleManager(patience: nil, copies: isInMemory ? .memory : .file)
      let point = HookPoint<SampleModules.Argument, Memb>(
        "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
      manager.provide(point)
      try await manager.load(path: path)
      let thread = ServiceThread.start(named: "in-module") {
        var argument = SampleModules.Argument()
        _ = point.dispatch(&argument)
      }
      precondition(thread == 0)
      let shown = await onThread {
        // The thread may not have come to the function yet.
        for _ in 0..<20 {
          // gdb may miss the stop of a thread while it attaches, and then waits for ever; it
          // detaches when it is killed.
          let run = Compiler.run([
            "timeout", "--signal=KILL", "30", "gdb", "--batch", "--nx", "--readnever", "-p", "\(getpid())",
            "-ex",
            "thread apply all backtrace 6",
          ])
          if run.output.contains("function_of_the_module") { return "" }
          if !run.output.contains("in-module") { usleep(100_000) }
          // The system forbids to debug a process that is no child.
          if run.output.contains("ptrace: ") { return "" }
        }
        return "gdb does not show the function"
      }
      FileHandle.standardError.write(Data(shown.utf8))
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }
  /// A core of a process in which a thread has called a module that is gone: the script names it.
  @Test(.enabled(if: isThere, "gdb is not installed"), .timeLimit(.minutes(5)))
  func coreNamesTheModuleThatIsGone() async throws {
    let path = await onThread {
      Misbehavior.module(
        "departed", hook: "char line[32]; sprintf(line, \"%p\", (void *)hook); host->log(self, line);",
        functions: "#include <stdio.h>\nstatic int hook(void *, void *);\n",
        members: ", .version = \"2.1\"")
    }
    let core = FileManager.default.temporaryDirectory.appending(path: "core-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: core) }
    let written = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, core = core as String] in
      // Where a process dies, this one stays for the debugger.
      signal(SIGSEGV) { _ in while true { pause() } }
      let scene = Misbehavior(isPatient: true)
      let lines = Lines()
      scene.manager.setLog { _, line in lines.add(line) }
      try await scene.manager.load(path: path)
      _ = scene.call()
      try await scene.manager.unload("departed")
      let address = UInt(lines.all[0].dropFirst(2), radix: 16)!
      let error = ServiceThread.start(named: "stale") {
        unsafeBitCast(address, to: (@convention(c) () -> Void).self)()
      }
      precondition(error == 0)
      let shown = await onThread {
        for _ in 0..<20 {
          let run = Compiler.run([
            "timeout", "--signal=KILL", "60", "gdb", "--batch", "--nx", "--readnever", "-p", "\(getpid())",
            "-ex", "generate-core-file \(core)",
          ])
          if run.output.contains("Saved corefile") || run.output.contains("ptrace: ") { return "" }
        }
        return "gdb writes no core"
      }
      FileHandle.standardError.write(Data(shown.utf8))
    }
    #expect(written?.standardErrorContent == [], "\(written.errorOutput)")
    // The system forbids to debug a process that is no child.
    if !FileManager.default.fileExists(atPath: core) { return }
    let output = await onThread {
      let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
      let script = Compiler.root.appending(path: "Scripts/quiescence-gdb.py").path
      return Compiler.run([
        "gdb", "--batch", "--nx", "--readnever", "-x", script, program, core,
        "-ex", "quiescence-modules", "-ex", "thread apply all quiescence-address",
      ]).output
    }
    #expect(output.contains(" departed 2.1 (unmapped, \(path))"), "\(output)")
    #expect(output.split(separator: "\n").contains { $0.contains(": departed 2.1+0x") }, "\(output)")
  }
}
