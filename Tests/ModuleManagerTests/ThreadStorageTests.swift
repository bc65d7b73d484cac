import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Storage of modules for each thread: see `quiescent_services.h`.
@Suite(.timeLimit(.minutes(10))) struct ThreadStorageTests {
  /// Counters in the blocks of threads that start and end: nothing is lost, and there are no more
  /// blocks than threads at a time.
  @Test(arguments: UnloadScheme.all)
  func blocksKeepWhatEndedThreadsCounted(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let lines = ServiceSamples.logging(scene.manager)
    let path = ServiceSamples.module(
      "counting",
      """
      static struct quiescent_thread_storage *first, *second;
      static void add(void *block, void *context) {
        *(long *)context += atomic_load((atomic_long *)block);
        calls++;
      }
      """,
      hook: """
        atomic_long *mine = services->thread_block(first), *other = services->thread_block(second);
        if (mine != services->thread_block(first) || mine == other || (uintptr_t)mine % 64) abort();
        atomic_fetch_add(mine, 1);
        atomic_fetch_add(other + 99, 1);
        """,
      initialize: """
        first = services->create_thread_storage(s, sizeof(long));
        second = services->create_thread_storage(s, 800);
        if (!first || !second || services->create_thread_storage(s, 0)) return -EPROTO;
        if (services->create_thread_storage(s, SIZE_MAX)) return -EPROTO;
        """,
      exit: """
        long total = 0;
        services->visit_blocks(first, add, &total);
        char line[80];
        snprintf(line, sizeof line, "%ld in %s", total, calls <= 4 ? "few" : "many");
        host->log(self, line);
        return services->create_thread_storage(self, 8) == NULL ? 0 : -EPROTO;
        """)
    let point = scene.point
    for _ in 0..<3 {
      try await scene.manager.load(path: path)
      for _ in 0..<20 {
        await onThread {
          joinThreads(4) {
            var argument = SampleModules.Argument()
            for _ in 0..<10 { _ = point.dispatch(&argument) }
          }
        }
      }
      #expect(try await scene.manager.unload("counting", ifBusy: .wait).isUnmapped)
    }
    #expect(lines.all == Array(repeating: "800 in few", count: 3))
  }

  /// Threads that have blocks of modules that are gone by now: their ends touch nothing of those,
  /// and an index that is used again leads to no old block.
  @Test func threadsOutliveStorages() async throws {
    let scene = Misbehavior()
    let path = ServiceSamples.module(
      "short", "static struct quiescent_thread_storage *storage;\n",
      hook: """
        atomic_long *mine = services->thread_block(storage);
        a->cookie = (int)atomic_fetch_add(mine, 1);
        """,
      initialize: "storage = services->create_thread_storage(s, 64);", exit: "return 0;")
    let manager = scene.manager, point = scene.point
    let cookies = await onThread { () -> [Int32] in
      (0..<50).map { _ in
        guard (try? manager.load(path: path)) != nil else { return -1 }
        var argument = SampleModules.Argument()
        _ = point.dispatch(&argument)
        guard (try? manager.unload("short", ifBusy: .wait))?.isUnmapped == true else { return -2 }
        return argument.cookie
      }
    }
    #expect(cookies == Array(repeating: 0, count: 50))
  }
}
