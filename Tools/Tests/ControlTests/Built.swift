import Foundation
import Synchronization
import Testing

/// What the tests run: the executable beside the test bundle, and the modules that are compiled
/// once.
enum Built {
  /// The built `quiesce`.
  static let quiesce: String = {
    let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (bundle as NSString).deletingLastPathComponent + "/quiesce"
  }()

  /// A directory with the sample modules and the broken ones.
  static let modules = Result { try build().path }

  private static let tools = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Stays until the tests have ended: hosts load from it.
  private static let directory = Mutex<TemporaryDirectory?>(nil)

  private static func build() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    self.directory.withLock { $0 = directory }
    atexit { Built.directory.withLock { $0 = nil } }
    try run("/bin/sh", [tools.appendingPathComponent("Modules/build.sh").path, directory.path])
    for (name, source) in ModuleSources.all {
      try directory.write(source, to: "\(name).c")
      try compile(directory.file("\(name).c"), to: directory.file("\(name).so"))
    }
    try directory.write("This is no shared object.\n", to: "text.so")
    try directory.write("", to: "empty.so")
    let whole = try Data(contentsOf: URL(fileURLWithPath: directory.file("holdable.so")))
    try whole.prefix(20).write(to: URL(fileURLWithPath: directory.file("stump.so")))
    try whole.prefix(200).write(to: URL(fileURLWithPath: directory.file("half.so")))
    try FileManager.default.createDirectory(
      atPath: directory.file("folder.so"), withIntermediateDirectories: false)
    return directory
  }

  static func compile(_ source: String, to image: String) throws {
    try run(
      "clang",
      [
        "-shared", "-fPIC", "-fvisibility=hidden", "-Wall",
        "-I", tools.appendingPathComponent("../Sources/CModuleABI/include").path,
        "-o", image, source,
      ])
  }

  private static func run(_ program: String, _ arguments: [String]) throws {
    let outcome = try Child(program, arguments).wait()
    try #require(outcome.status == 0, "\(program) \(arguments): \(outcome.error)")
  }
}

/// Modules that only a test would want.
enum ModuleSources {
  static let all = [
    "holdable": holdable, "twin": twin, "oldabi": oldABI, "noentry": "int unrelated = 1;\n",
    "failing": failing, "unresolved": unresolved, "permanent": permanent, "unwilling": unwilling,
    "badname": badName, "chatty": chatty, "hangexit": hangExit, "flood": flood, "leak": leak,
    "crashing": crashing, "failleak": failLeak, "slowinit": slowInit, "hangload": hangLoad,
    "rate-limit": module("rate_limit", "return 0;", "return 0;"),
    "bar": module("foo", "return 0;", "return 0;"),
  ]

  /// Publishes an object of 100 000 bytes, more than one read returns.
  private static let holdable = """
    #include "quiescent_module.h"
    #include <string.h>
    static long contents(void *context, char *buffer, size_t capacity, uint64_t offset) {
      (void)context;
      if (offset >= 100000) return 0;
      size_t count = 100000 - offset < capacity ? 100000 - offset : capacity;
      memset(buffer, 'x', count);
      return (long)count;
    }
    static int start(const struct quiescent_host *host, struct quiescent_self *self) {
      return host->publish(self, "held", contents, NULL);
    }
    static int leave(void) { return 0; }
    QUIESCENT_MODULE(.name = "holdable", .version = "2.5", .init = start, .exit = leave)

    """

  private static let twin = module("counter", "return 0;", "return 0;")
  private static let failing = module("failing", "return -12;", "return 0;")
  private static let badName = module("no/name", "return 0;", "return 0;")
  private static let chatty = module(
    "chatty", #"host->log(self, "one\nline\x1b[2J"); return 0;"#, "return 0;")

  /// Its `exit` never returns.
  private static let hangExit = module(
    "hangexit", "return 0;", "for (;;) pause(); return 0;", "#include <unistd.h>")
  /// Logs more than a pipe holds, from its `init`.
  private static let flood = module(
    "flood",
    #"for (int i = 0; i < 20000; i++) host->log(self, "0123456789012345678901234567890123456789"); return 0;"#,
    "return 0;")
  /// Holds a counter that is never released.
  private static let leak = module(
    "leak", #"host->bigref_acquire(host->bigref_create(self, "leaked")); return 0;"#, "return 0;")

  /// The same, and its `init` fails.
  private static let failLeak = module(
    "failleak", #"host->bigref_acquire(host->bigref_create(self, "leaked")); return -5;"#, "return 0;")

  /// Its `init` writes to an address that no process has.
  private static let crashing = module("crashing", "*(volatile int *)16 = 0; return 0;", "return 0;")

  /// Its `init` takes a while.
  private static let slowInit = module("slowinit", "sleep(2); return 0;", "return 0;", "#include <unistd.h>")

  /// Its constructor never returns.
  private static let hangLoad = module(
    "hangload", "return 0;", "return 0;",
    """
    #include <unistd.h>
    __attribute__((constructor)) static void hang(void) {
      if (write(2, "constructor\\n", 12) < 0) return;
      for (;;) pause();
    }
    """)

  /// Refuses to leave for the first time.
  private static let unwilling = module(
    "unwilling", "return 0;", "static int asked; return asked++ == 0 ? -16 : 0;")

  private static let permanent = """
    #include "quiescent_module.h"
    static int start(const struct quiescent_host *host, struct quiescent_self *self) {
      (void)host, (void)self;
      return 0;
    }
    QUIESCENT_MODULE(.name = "permanent", .init = start)

    """

  private static let oldABI = """
    #include "quiescent_module.h"
    __attribute__((visibility("default"))) const struct quiescent_module quiescent_module = {
        .abi = 999, .size = sizeof(struct quiescent_module), .name = "oldabi"};

    """

  private static let unresolved = """
    #include "quiescent_module.h"
    int function_that_nobody_has(void);
    static int start(const struct quiescent_host *host, struct quiescent_self *self) {
      (void)host, (void)self;
      return function_that_nobody_has();
    }
    static int leave(void) { return 0; }
    QUIESCENT_MODULE(.name = "unresolved", .init = start, .exit = leave)

    """

  private static func module(
    _ name: String, _ start: String, _ leave: String, _ more: String = ""
  ) -> String {
    """
    #include "quiescent_module.h"
    \(more)
    static int start(const struct quiescent_host *host, struct quiescent_self *self) {
      (void)host, (void)self;
      \(start)
    }
    static int leave(void) { \(leave) }
    QUIESCENT_MODULE(.name = "\(name)", .init = start, .exit = leave)

    """
  }
}
