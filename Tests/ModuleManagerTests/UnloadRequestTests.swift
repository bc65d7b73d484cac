import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules that request their own unload, in every place where their code runs.
@Suite struct UnloadRequestTests {
  typealias Argument = Guest.Argument

  /// The hook that makes the request continues for a while: its code stays mapped, and `exit` has
  /// not freed its data.
  @Test(arguments: UnloadScheme.all)
  func hookThatRequestsTheUnloadContinues(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    for _ in 0..<3 {
      try await manager.load(path: path)
      let flags = HookFlags()
      let events = manager.events()
      async let asked = onThread {
        var argument = Argument(.unloadLater, flags: flags.address)
        _ = point.dispatch(&argument)
        return [argument.result, argument.magic]
      }
      for await event in events where event.state == .going { break }
      #expect(flags.isInside)
      for _ in 0..<500 { await Task.yield() }
      #expect(isMapped(path) && manager.list().first?.state == .going)
      flags.letGo()
      #expect(await asked == [0, Guest.magic])
      for await event in events where event.state == .gone { break }
      #expect(!isMapped(path) && manager.list().isEmpty)
    }
    #expect(lines.all.isEmpty, "\(lines.all)")
  }

  /// In `init`: unloaded right after it. In an `exit` that refuses: tried again. In a callback:
  /// unloaded after its return.
  @Test func initExitAndCallbacksMayRequestTheUnload() async throws {
    let (manager, point) = Guest.manager(.bigref)
    let start = SampleModules.custom(
      "hasty",
      """
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { return h->unload_later(s); }
      static int leave(void) { return 0; }
      """, ".init = init, .exit = leave")
    let events = manager.events()
    try await manager.load(path: start)
    for await event in events where event.state == .gone { break }
    #expect(!isMapped(start))

    let end = SampleModules.custom(
      "reluctant",
      """
      static int refusals = 3;
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { host = h; self = s; return 0; }
      static int leave(void) {
        if (host->unload_later(self) != 0) abort();
        return refusals-- > 0 ? -EBUSY : 0;
      }
      """, ".init = init, .exit = leave")
    try await manager.load(path: end)
    #expect(await moduleError { try await manager.unload("reluctant") }?.errno == EBUSY)
    for await event in events where event.state == .gone { break }
    #expect(!isMapped(end))

    let callback = SampleModules.custom(
      "late",
      """
      static volatile int alive = 1;
      static void last(void *argument) {
        (void)argument;
        if (host->unload_later(self) != 0) abort();
        for (int i = 0; i < 20000000; i++) if (!alive) abort();
        host->log(self, "returned");
      }
      static int hook(void *argument, void *context) {
        (void)argument, (void)context;
        return host->retire(self, last, NULL);
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        return h->register_hook(s, "point", "\(Guest.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      """, ".init = init, .exit = leave")
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    try await manager.load(path: callback)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    for await event in events where event.state == .gone { break }
    #expect(!isMapped(callback) && lines.all == ["returned"])
  }

  /// From Swift, inside a hook and inside a section. Several threads wait elsewhere for the end.
  @Test func requestForUnloadDoesNotWait() async throws {
    let (manager, point) = Guest.manager(.bigref)
    let requests = Locked<[UnloadRequest]>([])
    try await manager.load(
      BuiltInModule("swift") { host in
        host.register(on: point) { _ in
          let request = host.unloadLater()
          requests.withLock { $0.append(request) }
          return .accept
        }
      })
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    let own = try #require(requests.withLock { $0.first })
    async let one = own.outcome
    let other = await onThread { try? own.wait() }
    let outcome = try await one
    #expect(outcome == other)
    if case .success(outcome) = own.result {} else { Issue.record("\(own.result as Any)") }
    #expect(manager.list().isEmpty)

    try await manager.load(path: Guest.file())
    let object = try manager.open("guest-object", holder: "client")
    let answer = await onThread {
      Memb.read { _ -> (UnloadRequest, Int32) in
        let request = manager.unloadLater("guest")
        // Waiting for the end in here would wait for this call.
        do throws(ModuleError) { _ = try request.wait() } catch { return (request, error.errno) }
        return (request, 0)
      }
    }
    #expect(answer.1 == EDEADLK)
    answer.0.cancel()
    #expect(await moduleError { try await answer.0.outcome }?.errno == ECANCELED)
    #expect(manager.list().first?.state == .live)
    let busy = await moduleError { try await manager.unloadLater("guest", ifBusy: .fail).outcome }
    #expect(busy?.errno == EBUSY)
    async let last = manager.unloadLater("guest", ifBusy: .whenIdle).outcome
    object.close()
    #expect(try await last.isUnmapped)
    #expect(
      await moduleError { try await manager.unloadLater("guest").outcome }?.description
        == "guest: no such module is loaded (ENOENT)")
  }

  /// Before the request's turn, the module that made it is unloaded, and another one of the same
  /// name is loaded: that one stays.
  @Test func requestIsForThisLoadOnly() async throws {
    // The `init` of `slow` keeps the queue until all requests are made.
    let manager = ModuleManager(patience: nil)
    let path = SampleModules.publishing("generation")
    try await manager.load(path: path)
    for _ in 0..<10 {
      let mayStart = Counter()
      async let slow = manager.load(
        BuiltInModule("slow") { _ in
          while mayStart.value == 0 { sched_yield() }
          return 0
        })
      while manager.list().last?.state != .coming { await Task.yield() }
      let first = manager.unloadLater("generation", ifBusy: .fail)
      async let next = manager.load(path: path)
      for _ in 0..<300 { await Task.yield() }
      // Not an unload that is under way when this one begins: it waits for that, as the load does.
      let second = manager.unloadLater("generation")
      mayStart.add(1)
      _ = try await (slow, next, first.outcome)
      #expect(await moduleError { try await second.outcome }?.errno == ENOENT)
      #expect(manager.list().map(\.name).contains("generation"))
      try await manager.unload("slow")
    }
    try await manager.unload("generation")
  }
}
