import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What a module's code leaves behind keeps its image mapped, and the outcome says what it is; see
/// `Sources/ModuleManager/MISBEHAVIOR.md`.
@Suite(.timeLimit(.minutes(10))) struct LeftoverTests {
  /// Statements of `init`, of `exit`, and what the outcome says of what they leave.
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let functions: String
    let initialize: String
    let end: String
    let reason: String

    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "sleeping-thread",
      functions: """
        static pthread_t thread;
        static atomic_int isOver, rounds;
        static void *run(void *unused) {
          (void)unused;
          while (!isOver) { rounds++; usleep(500); }
          return NULL;
        }
        """,
      initialize: """
        if (pthread_create(&thread, NULL, run, NULL)) return -EAGAIN;
        while (!rounds) sched_yield();
        """,
      end: "isOver = 1; pthread_join(thread, NULL);",
      reason: "its thread "),
    Case(
      name: "spinning-thread",
      functions: """
        static pthread_t thread;
        static atomic_int isOver, rounds;
        static void *run(void *unused) { (void)unused; while (!isOver) rounds = 1; return NULL; }
        """,
      initialize: """
        if (pthread_create(&thread, NULL, run, NULL)) return -EAGAIN;
        while (!rounds) sched_yield();
        """,
      end: "isOver = 1; pthread_join(thread, NULL);",
      reason: "its thread "),
    Case(
      name: "c11-thread",
      functions: """
        #include <threads.h>
        static thrd_t thread;
        static atomic_int isOver, rounds;
        static int run(void *unused) { (void)unused; while (!isOver) { rounds = 1; usleep(500); } return 0; }
        """,
      initialize: """
        if (thrd_create(&thread, run, NULL) != thrd_success) return -EAGAIN;
        while (!rounds) sched_yield();
        """,
      end: "isOver = 1; thrd_join(thread, NULL);",
      reason: "its thread "),
    Case(
      name: "handler",
      functions: "static void caught(int number) { (void)number; }",
      initialize: "signal(41, caught);",
      end: "signal(41, SIG_DFL);",
      reason: "its handler of signal "),
    Case(
      name: "timer",
      functions: """
        static timer_t timer;
        static void expired(union sigval value) { (void)value; }
        """,
      initialize: """
        struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
        struct itimerspec every = {{0, 1000000}, {0, 1000000}};
        if (timer_create(CLOCK_MONOTONIC, &event, &timer)) return -errno;
        timer_settime(timer, 0, &every, NULL);
        """,
      end: "timer_delete(timer);",
      reason: "its timer "),
    Case(
      name: "key",
      functions: """
        static pthread_key_t key;
        static void destroyed(void *unused) { (void)unused; }
        """,
      initialize: "pthread_key_create(&key, destroyed); pthread_setspecific(key, &key);",
      end: "pthread_key_delete(key);",
      reason: "its key "),
  ]

  static let preamble = """
    #define _GNU_SOURCE
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdatomic.h>
    #include <time.h>
    #include <unistd.h>

    """

  private static func module(_ sample: Case, leaves: Bool, _ options: [String] = []) -> String {
    let name = "\(sample.name)-\(leaves ? "left" : "ended")"
    let code =
      preamble + SampleModules.preamble + """
        \(sample.functions)
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          (void)h, (void)s;
          \(sample.initialize)
          return 0;
        }
        static void end(void) { \(sample.end) }
        static int leave(void) { if (!\(leaves ? 1 : 0)) end(); return 0; }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """
    return Compiler.module(code, in: SampleModules.folder, named: name, options: options)
  }

  /// The image stays, and what was left goes on in it.
  @Test(arguments: cases)
  func leftoverKeepsTheImage(_ sample: Case) async throws {
    let path = await onThread { Self.module(sample, leaves: true) }
    let name = "\(sample.name)-left"
    let reason = sample.reason
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, name = name as String, reason = reason as String] in
      let manager = ModuleManager(patience: nil)
      for _ in 0..<5 {
        try await manager.load(path: path)
        let outcome = try await manager.unload(name)
        guard case .resident(path, let text) = outcome, text.hasPrefix(reason) else {
          fatalError("\(outcome)")
        }
        precondition(manager.recentlyUnloaded[0].end == .resident && manager.list().isEmpty)
      }
      // Threads run, the signal is caught, timers expire; destructors of keys run at the end.
      if name.hasPrefix("handler") { raise(41) }
      await onThreads { _ in usleep(20_000) }
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }

  /// A module that ends what it has started is unmapped.
  @Test(arguments: cases)
  func moduleThatCleansUpIsUnmapped(_ sample: Case) async throws {
    let path = await onThread { Self.module(sample, leaves: false) }
    let manager = ModuleManager()
    for _ in 0..<5 {
      try await manager.load(path: path)
      #expect(try await manager.unload("\(sample.name)-ended").isUnmapped)
    }
    #expect(!isMapped(path))
  }

  /// The C++ library calls the module's object; another library calls the module's function.
  @Test(arguments: ["class", "library"]) func threadOfALibraryKeepsTheImage(_ kind: String) async throws {
    let name = "\(kind)-thread"
    let folder = Compiler.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = await onThread {
      kind == "class" ? Self.classThread(name, in: folder) : Self.libraryThread(name, in: folder)
    }
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String, name = name as String] in
      let manager = ModuleManager(patience: nil)
      for leaves in [true, false, true] {
        setenv("QUIESCENT_TEST_LEAVES", leaves ? "1" : "0", 1)
        try await manager.load(path: path)
        let outcome = try await manager.unload(name)
        switch outcome {
        case .resident(path, let text) where leaves && text.hasPrefix("its thread "): continue
        case .unloaded where !leaves: continue
        default: fatalError("\(leaves): \(outcome)")
        }
      }
      await onThreads { _ in usleep(20_000) }
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }

  private static let mayLeave = """
    static int leaves(void) { return getenv("QUIESCENT_TEST_LEAVES")[0] == '1'; }

    """

  private static func classThread(_ name: String, in folder: URL) -> String {
    // The header of the interface is for C; C++ has the thread.
    let part = Compiler.object(
      """
      #include <atomic>
      #include <thread>
      #include <unistd.h>
      static std::thread *thread;
      static std::atomic<bool> isOver, hasBegun;
      extern "C" void thread_start() {
        thread = new std::thread([] { hasBegun = true; while (!isOver) usleep(500); });
        while (!hasBegun) usleep(500);
      }
      extern "C" void thread_end() { isOver = true; thread->join(); delete thread; }
      """, in: folder, named: "part.cpp")
    return Compiler.module(
      SampleModules.preamble + mayLeave + """
        void thread_start(void);
        void thread_end(void);
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          (void)h, (void)s;
          thread_start();
          return 0;
        }
        static int leave(void) { if (!leaves()) thread_end(); return 0; }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """, in: folder, named: name, options: [part, "-lstdc++"])
  }

  private static func libraryThread(_ name: String, in folder: URL) -> String {
    let library = Compiler.module(
      preamble + """
        #define EXPORTED __attribute__((visibility("default")))
        static pthread_t thread;
        static void (*called)(void);
        static void *run(void *unused) { called(); return unused; }
        EXPORTED void library_start(void (*function)(void)) {
          called = function;
          pthread_create(&thread, NULL, run, NULL);
        }
        EXPORTED void library_end(void) { pthread_join(thread, NULL); }
        """, in: folder, named: "libstarter", options: ["-Wl,-soname,libstarter.so"])
    return Compiler.module(
      preamble + SampleModules.preamble + mayLeave + """
        void library_start(void (*function)(void));
        void library_end(void);
        static atomic_int isOver, hasBegun;
        static void work(void) { hasBegun = 1; while (!isOver) usleep(500); }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          (void)h, (void)s;
          library_start(work);
          while (!hasBegun) usleep(500);
          return 0;
        }
        static int leave(void) {
          if (leaves()) return 0;
          isOver = 1;
          library_end();
          return 0;
        }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """, in: folder, named: name, options: ["-Wl,-rpath,$ORIGIN", library])
  }
}
