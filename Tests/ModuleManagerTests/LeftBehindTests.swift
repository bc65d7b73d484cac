import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What modules leave behind, and what an unload that does not come about must leave as it was; see
/// `Sources/ModuleManager/MISBEHAVIOR.md`.
@Suite(.timeLimit(.minutes(20))) struct LeftBehindTests {
  /// `init` fails and leaves a count behind: answered at once, visible, and no later request hangs.
  @Test(arguments: UnloadScheme.all)
  func failedInitIsAnsweredThoughUsersKeepTheModule(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = Misbehavior.module(
      "failinit",
      initialize: """
        struct quiescent_bigref *leaked = h->bigref_create(s, "leaked");
        h->bigref_acquire(leaked);
        return -EIO;
        """)
    let failed = await moduleError { try await scene.manager.load(path: path) }
    #expect(failed?.description == "failinit: its init failed (EIO)")
    // Where the grace period lasts, it is answered before the last look at the users.
    while scene.status("failinit")?.state == .going && scene.status("failinit")?.activity?.kind != .users {
      await Task.yield()
    }
    let status = try #require(scene.status("failinit"))
    #expect(status.holders == [ModuleHolder(label: "leaked", count: 1)])
    let load = await moduleError { try await scene.manager.load(path: path, within: .milliseconds(20)) }
    if status.state == .cleanup {
      #expect(scheme == .startStopExit)
      #expect(load?.errno == EEXIST)
      return
    }
    #expect(status.state == .going)
    #expect(load?.errno == ETIMEDOUT && load?.holders == status.holders)
    let attempt = try #require(scene.manager.unloadAttempt(of: "failinit"))
    let refused = await moduleError { try await attempt.cancel() }
    #expect(refused?.errno == EBUSY && refused?.reason.contains("its init failed") == true)
    let outcome = try await scene.manager.unload("failinit", ifBusy: .wait, within: .milliseconds(20))
    #expect(outcome == .deferred(holders: status.holders))
    try await scene.expectOthersGoOn()
  }

  /// A reference that is never given back: the wait ends with its requests, can be given up by any
  /// caller, and forced.
  @Test(arguments: UnloadScheme.all)
  func leakedReferenceIsNoTrap(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let manager = scene.manager
    let path = Misbehavior.module(
      "leak",
      initialize: """
        struct quiescent_bigref *leaked = h->bigref_create(s, "leaked");
        h->bigref_acquire(leaked);
        """)
    try await manager.load(path: path)
    // Refused untouched.
    let events = manager.events()
    #expect(await scene.unloadError("leak", ifBusy: .fail)?.errno == scheme.busyErrno)
    #expect(scene.call() == 1)
    // Two wait; the module is given back with the second.
    let first = Task { try await manager.unload("leak", ifBusy: .wait) }
    for await event in events { if event.state == .going { break } }
    await scene.whenInside("leak", .users)
    let second = Task { try await manager.unload("leak", ifBusy: .wait) }
    // Most often the second joins the first. If its task starts later, it begins anew.
    for _ in 0..<3 { #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT) }
    first.cancel()
    let firstResult = await first.result
    #expect(await moduleError { try firstResult.get() }?.errno == ECANCELED)
    await scene.whenInside("leak", .users)
    second.cancel()
    let secondResult = await second.result
    #expect(await moduleError { try secondResult.get() }?.errno == ECANCELED)
    #expect(scene.status("leak")?.state == .live && scene.call() == 1)
    // Given up by a third.
    let third = Task { try await manager.unload("leak", ifBusy: .wait) }
    await scene.whenInside("leak", .users)
    try await #require(manager.unloadAttempt(of: "leak")).cancel()
    let thirdResult = await third.result
    #expect(
      await moduleError { try thirdResult.get() }?.description
        == "leak: the unload was given up, in use: leaked (ECANCELED)")
    #expect(scene.status("leak")?.state == .live && scene.call() == 1)
    // Forced while it waits: a taint, and then nothing leads back.
    let fourth = Task { try await manager.unload("leak", ifBusy: .wait) }
    await scene.whenInside("leak", .users)
    let attempt = try #require(manager.unloadAttempt(of: "leak"))
    let outcome = try await manager.unload("leak", ifBusy: .force, within: .milliseconds(20))
    #expect(outcome == .deferred(holders: [ModuleHolder(label: "leaked", count: 1)]))
    #expect(attempt.policy == .force && !attempt.isOver)
    #expect(manager.taints.map(\.module) == ["leak"])
    let refused = await moduleError { try await attempt.cancel() }
    #expect(refused?.errno == EBUSY && refused?.reason.contains("it was forced") == true, "\(refused as Any)")
    fourth.cancel()
    _ = await fourth.result
    try await scene.expectOthersGoOn()
  }

  /// A module in cleanup is not reported as loaded, by any request.
  @Test func moduleInCleanupIsNotReportedAsLoaded() async throws {
    let scene = Misbehavior()
    let folder = ModuleFolder()
    _ = await onThread {
      Compiler.module(
        """
        #include <errno.h>
        #include "quiescent_module.h"
        static int refusals = 2;
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return 0; }
        static int leave(void) { return refusals-- > 0 ? -EBUSY : 0; }
        QUIESCENT_MODULE(.name = "stubborn", .init = init, .exit = leave)
        """, in: URL(filePath: folder.path), named: "stubborn")
    }
    try scene.manager.setDirectory(folder.path)
    try await scene.manager.request("stubborn")
    for _ in 0..<2 {
      #expect(await scene.unloadError("stubborn", ifBusy: .fail)?.errno == EBUSY)
      let request = await moduleError { try await scene.manager.request("stubborn") }
      #expect(
        request?.errno == EBUSY && request?.reason.contains("is in cleanup") == true, "\(request as Any)")
    }
    #expect(try await scene.manager.unload("stubborn").isUnmapped)
    #expect(try await scene.manager.request("stubborn").map(\.state) == [.live])
    #expect(await scene.unloadError("stubborn", ifBusy: .fail)?.errno == EBUSY)
  }

  /// The name in the file is the module's name; `-` and `_` are one.
  @Test func moduleOfAnotherNameIsRefusedWithBothNames() async throws {
    let scene = Misbehavior()
    let folder = ModuleFolder()
    for (file, name) in [("bar", "foo"), ("rate-limit", "rate_limit")] {
      _ = await onThread {
        Compiler.module(
          """
          #include "quiescent_module.h"
          static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return 0; }
          static int leave(void) { return 0; }
          QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
          """, in: URL(filePath: folder.path), named: file)
      }
    }
    let path = "\(folder.path)/bar.so"
    let manager = scene.manager
    let refused = await moduleError { try await manager.load(path: path, as: "bar") }
    #expect(
      refused?.description == "\(path): its module is called 'foo', and was found as 'bar' (ENOEXEC)")
    #expect(!isMapped(path) && manager.list().isEmpty)
    try manager.setDirectory(folder.path)
    #expect(await moduleError { try await manager.request("bar") } != nil)
    #expect(!isMapped(path) && manager.list().isEmpty)
    for name in ["rate-limit", "rate_limit"] {
      #expect(try await manager.request(name).map(\.state) == [.live])
      #expect(manager.list().count == 1)
      let other = await moduleError { try await manager.load(BuiltInModule("rate-limit") { _ in 0 }) }
      #expect(other?.errno == EEXIST)
      #expect(try await manager.unload(name == "rate-limit" ? "rate_limit" : "rate-limit").isUnmapped)
    }
  }

  /// An unload between the halves of a request is told which request it would fail.
  @Test func requestHoldsWhatItHasLoaded() async throws {
    let scene = Misbehavior()
    let folder = ModuleFolder()
    await folder.add("db")
    await folder.add("da", #"QUIESCENT_DEPENDS("db,dc");"#)
    await folder.add("dc")
    let manager = scene.manager
    try manager.setDirectory(folder.path)
    // The second half waits for a module that is going.
    let holds = Shared(Locked<ModuleHost?>(nil))
    manager.provide([
      BuiltInModule("dc") { host in
        holds.value.withLock { $0 = host }
        return host.acquire(for: "client") ? 0 : -EBUSY
      }
    ])
    try await manager.request("dc")
    async let gone = manager.unload("dc", ifBusy: .wait)
    await scene.whenInside("dc", .users)
    async let request = manager.request("da")
    while scene.status("db") == nil || scene.status("db")?.holders.isEmpty == true { await Task.yield() }
    #expect(scene.status("db")?.holders == [ModuleHolder(label: "request da", count: 1)])
    for policy in [BusyPolicy.fail, .wait, .force] {
      let refused = await scene.unloadError("db", ifBusy: policy)
      #expect(refused?.description == "db: needed by request da (EWOULDBLOCK)")
    }
    holds.value.withLock { $0.take() }?.release(for: "client")
    _ = try await gone
    #expect(try await request.map(\.name) == ["da"])
    #expect(scene.status("db")?.holders == [ModuleHolder(label: "module da", count: 1)])
    // One whose callers have gone holds nothing.
    _ = try await manager.unload("da")
    async let again = manager.unload("dc", ifBusy: .wait)
    await scene.whenInside("dc", .users)
    let late = await moduleError { try await manager.request("da", within: .milliseconds(200)) }
    #expect(late?.errno == ETIMEDOUT, "\(late as Any)")
    #expect(try await manager.unload("db").isUnmapped)
    holds.value.withLock { $0.take() }?.release(for: "client")
    _ = try await again
  }

  /// After a refused unload hooks are called in the order in which they were registered, with every
  /// scheme.
  @Test(arguments: UnloadScheme.all)
  func refusedUnloadKeepsTheOrderOfHooks(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme, isPatient: true)
    for letter in ["A", "B", "C"] {
      try await scene.manager.load(
        path: Misbehavior.module(
          "ord\(letter)", hook: "a->cookie = a->cookie * 256 + '\(letter)';",
          initialize: "struct quiescent_bigref *b = h->bigref_create(s, \"held\"); h->bigref_acquire(b);"))
    }
    func order() -> String {
      var argument = SampleModules.Argument()
      _ = scene.point.dispatch(&argument)
      return String(
        decoding: [16, 8, 0].map { UInt8(truncatingIfNeeded: argument.cookie >> $0) }, as: UTF8.self)
    }
    #expect(order() == "ABC")
    for name in ["ordA", "ordB", "ordC"] {
      #expect(await scene.unloadError(name)?.errno == ETIMEDOUT)
      #expect(order() == "ABC")
      #expect(await scene.unloadError(name, ifBusy: .fail)?.errno == scheme.busyErrno)
      #expect(order() == "ABC")
    }
  }

  /// The default scheme asks `usecount` before an unload that does not wait, and calls neither
  /// `stop` nor `cleanup`.
  @Test func defaultSchemeAsksTheUseCountAlone() async throws {
    let scene = Misbehavior()
    let lines = Lines()
    scene.manager.setLog { _, line in lines.add(line) }
    try await scene.manager.load(
      path: Misbehavior.module(
        "stopper", exit: "host->log(self, \"exit\"); return 0;",
        functions: """
          static void stop(void) { host->log(self, "stop"); }
          static int64_t usecount(void) { return 3; }
          static int cleanup(int force) { (void)force; host->log(self, "cleanup"); return -EBUSY; }
          """, members: ", .stop = stop, .usecount = usecount, .cleanup = cleanup"))
    let refused = await scene.unloadError("stopper", ifBusy: .fail)
    #expect(refused?.description == "stopper: in use: the module's own × 3 (EBUSY)")
    #expect(lines.all.isEmpty && scene.call() == 1)
    #expect(try await scene.manager.unload("stopper", ifBusy: .wait).isUnmapped)
    #expect(lines.all == ["exit"])
  }

  /// An unload that is refused for what the counts say is never seen by callers, with every scheme.
  @Test(arguments: UnloadScheme.all)
  func refusedUnloadIsNotSeenByCalls(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    try await scene.manager.load(
      path: Misbehavior.module(
        "busy",
        initialize: "struct quiescent_bigref *b = h->bigref_create(s, \"session\"); h->bigref_acquire(b);"))
    let isOver = Counter(), calls = Counter(), missed = Counter()
    async let traffic: Void = onThreads(2) { _ in
      while isOver.value == 0 {
        if scene.call() == 1 { calls.add(1) } else { missed.add(1) }
      }
    }
    for _ in 0..<20 {
      let before = calls.value
      #expect(await scene.unloadError("busy", ifBusy: .fail)?.errno == scheme.busyErrno)
      while calls.value < before + 100 { await Task.yield() }
    }
    isOver.add(1)
    await traffic
    #expect(missed.value == 0, "\(missed.value) of \(calls.value)")
  }
}
