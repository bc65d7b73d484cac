import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Replacements that do not come about: the old version serves throughout.
@Suite(.timeLimit(.minutes(10))) struct ReplaceRefusalTests {
  /// Loads version 1, and returns the error of its replacement by another file.
  private func refusal(
    _ scene: Versions, _ name: String, by path: String, within limit: Duration? = nil
  ) async -> ModuleError? {
    let error = await moduleError { try await scene.manager.replace(name, with: path, within: limit) }
    #expect(scene.call() == 1, "it serves as before")
    #expect(scene.rows(name).first?.state == .live && scene.rows(name).first?.version == "1")
    #expect((try? scene.read("\(name)-object")) == "1")
    return error
  }

  @Test(arguments: UnloadScheme.all)
  func failedInitLeavesTheOldVersionInService(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme)
    try await scene.manager.load(path: Versions.module("firm", 1))
    let failing = Versions.module("firm", 2, initialize: "return -ENODEV;", exit: "abort();")
    let error = await refusal(scene, "firm", by: failing)
    #expect(error?.description == "firm: its init failed (ENODEV)")
    await scene.whenListed(1, "firm")
    #expect(!isMapped(failing) && scene.manager.lastUnloaded?.end == .failed)
    // Also one that cleans up in its exit, and one that returns nonsense.
    let cleaning = Versions.module(
      "firm", 3, initialize: "return -EIO;", exit: "host->log(self, \"cleaned\"); return 0;",
      members: ", .flags = QUIESCENT_EXIT_AFTER_FAILED_INIT")
    #expect(await refusal(scene, "firm", by: cleaning)?.errno == EIO)
    await scene.whenListed(1, "firm")
    #expect(scene.log.all == ["firm: cleaned"])
    let odd = Versions.module("firm", 4, initialize: "return 5;")
    #expect(await refusal(scene, "firm", by: odd)?.errno == EINVAL)
    await scene.whenListed(1, "firm")
    #expect(try await scene.manager.unload("firm").isUnmapped)
  }

  @Test func fileOfAnotherModuleIsRefusedWithBothNames() async throws {
    let scene = Versions()
    try await scene.manager.load(path: Versions.module("mine", 1))
    let other = Versions.module("yours", 2)
    #expect(
      await refusal(scene, "mine", by: other)?.description
        == "\(other): its module is called 'yours', and cannot replace 'mine' (ENOEXEC)")
    #expect(await refusal(scene, "mine", by: "/nowhere/mine.so")?.errno == ENOENT)
    #expect(await refusal(scene, "mine", by: SampleModules.folder.path)?.errno == EISDIR)
    let missing = await moduleError { try await scene.manager.replace("nosuch", with: other) }
    #expect(missing?.description == "nosuch: no such module is loaded (ENOENT)")
    try await scene.manager.unload("mine")
  }

  @Test func versionsThatCouldNotLeaveAreRefused() async throws {
    let scene = Versions()
    // The new one, which may have to give way.
    try await scene.manager.load(path: Versions.module("stuck", 1))
    let staying = SampleModules.custom(
      "stuck", "static int init(const struct quiescent_host *h, struct quiescent_self *s) { abort(); }",
      ".init = init")
    #expect(
      await refusal(scene, "stuck", by: staying)?.description
        == "stuck: the new version has no exit: it could not give way (EINVAL)")
    #expect(!isMapped(staying))
    try await scene.manager.unload("stuck")
    // The old one.
    try await scene.manager.load(path: Versions.module("fixed", 1), policy: .never)
    let error = await refusal(scene, "fixed", by: Versions.module("fixed", 2))
    #expect(error?.errno == EBUSY && error?.reason.hasPrefix("permanent") == true)
  }

  @Test func observersMayRefuseTheNewVersion() async throws {
    let scene = Versions()
    try await scene.manager.load(path: Versions.module("watched", 1))
    scene.manager.add(ModuleObserver("quota", willLoad: { module, _ in module == "watched" ? "full" : nil }))
    let second = Versions.module("watched", 2)
    #expect(
      await refusal(scene, "watched", by: second)?.description
        == "watched: quota refuses it: full (EPERM)")
    #expect(!isMapped(second))
    scene.manager.forbidLoading()
    #expect(await refusal(scene, "watched", by: second)?.errno == EPERM)
    try await scene.manager.unload("watched")
  }

  @Test func nameOfAnotherModulesObjectIsEEXIST() async throws {
    let scene = Versions()
    try await scene.manager.load(path: SampleModules.publishing("owner"))
    try await scene.manager.load(path: Versions.module("greedy", 1))
    let greedy = Versions.module(
      "greedy", 2,
      initialize: #"""
        if ((error = h->publish(s, "greedy-new", look, NULL))) return error;
        if (h->publish(s, "greedy-object", look, NULL) != -EEXIST) return -EPROTO;
        return h->publish(s, "owner-object", look, NULL);
        """#)
    #expect(await refusal(scene, "greedy", by: greedy)?.errno == EEXIST)
    await scene.whenListed(1, "greedy")
    #expect(scene.manager.objects() == ["greedy-object", "owner-object"])
    for name in ["owner", "greedy"] { try await scene.manager.unload(name) }
  }

  @Test func versionThatDependsOnItselfIsELOOP() async throws {
    let scene = Versions()
    let folder = ModuleFolder()
    try await scene.manager.load(path: Versions.module("ring", 1))
    try await scene.manager.load(path: await folder.add("ring-user", #"QUIESCENT_DEPENDS("ring");"#))
    let looped = Versions.module("ring", 2, functions: #"QUIESCENT_DEPENDS("ring");"#)
    #expect(
      await refusal(scene, "ring", by: looped)?.description
        == "ring: the new version depends on itself (ELOOP)")
    let circular = Versions.module("ring", 2, functions: #"QUIESCENT_DEPENDS("ring-user");"#)
    #expect(
      await refusal(scene, "ring", by: circular)?.description
        == "ring: the new version depends on ring-user, which depends on it (ELOOP)")
    let lacking = Versions.module("ring", 2, functions: #"QUIESCENT_DEPENDS("nosuch");"#)
    #expect(await refusal(scene, "ring", by: lacking)?.errno == ENOENT)
    #expect(scene.rows("ring-user")[0].holders.isEmpty)
    for name in ["ring-user", "ring"] { try await scene.manager.unload(name) }
  }

  /// An `init` of a new version that hangs holds up that version alone.
  @Test func initThatHangsHoldsUpTheNewVersionAlone() async throws {
    let scene = Versions(isPatient: false)
    let manager = scene.manager
    let gate = Misbehavior.Gate()
    try await manager.load(path: Versions.module("calm", 1))
    let hanging = Versions.module("calm", 2, initialize: gate.wait)
    let task = Task { try await manager.replace("calm", with: hanging) }
    await scene.whenInside("calm", .initialize)
    task.cancel()
    let ended = await moduleError { try await task.value }
    #expect(ended?.errno == ECANCELED)
    #expect(ended?.reason.contains("calm is coming (init has not returned for ") == true, "\(ended as Any)")
    #expect(scene.rows("calm").map(\.state) == [.live, .coming])
    let cancellation = WaitCancellation()
    async let cancelled = onThread { () -> Int32 in
      do throws(ModuleError) { try manager.replace("calm", with: hanging, cancelledBy: cancellation) } catch {
        return error.errno
      }
      return 0
    }
    await scene.whenInside("calm", .initialize, 2)
    cancellation.cancel()
    #expect(await cancelled == EINTR)
    let late = await refusal(scene, "calm", by: hanging, within: .milliseconds(100))
    #expect(late?.errno == ETIMEDOUT)
    // The old version serves, can be changed, replaced, unloaded and loaded.
    #expect(scene.call() == 1)
    #expect(try await manager.replace("calm", with: Versions.module("calm", 3)).isUnmapped)
    #expect(scene.call() == 3)
    #expect(try await manager.unload("calm").isUnmapped)
    try await manager.load(path: Versions.module("calm", 4))
    #expect(scene.call() == 4 && scene.rows("calm").count >= 3)
    // When it returns, it leaves: its requests were told that it has not come.
    gate.open()
    await scene.whenListed(1, "calm")
    #expect(scene.call() == 4 && !isMapped(hanging))
    #expect(scene.manager.recentlyUnloaded.prefix(2).map(\.end) == [.failed, .failed])
    try await manager.unload("calm")
  }

  /// What comes first wins; the other version leaves by its `exit`.
  @Test(arguments: UnloadScheme.all)
  func versionThatFindsTheNameLostLeaves(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme, isPatient: false)
    let manager = scene.manager
    let gates = [Misbehavior.Gate(), Misbehavior.Gate()]
    try await manager.load(path: Versions.module("raced", 1))
    let slow = gates.map { gate in
      Versions.module("raced", 2, initialize: gate.wait, exit: "host->log(self, \"left\"); return 0;")
    }
    let first = Task { try await manager.replace("raced", with: slow[0]) }
    await scene.whenInside("raced", .initialize)
    try await manager.replace("raced", with: Versions.module("raced", 3))
    gates[0].open()
    let replaced = await moduleError { try await first.value }
    #expect(replaced?.description == "raced: has been replaced meanwhile (ENOENT)")
    await scene.whenListed(1, "raced")
    #expect(scene.log.all == ["raced: left"] && scene.call() == 3)
    #expect(try scene.read("raced-object") == "3")
    // An unload that waits for a user, and is given up: then it takes over.
    let object = try manager.open("raced-object", holder: "client")
    let second = Task { try await manager.replace("raced", with: slow[1]) }
    await scene.whenInside("raced", .initialize)
    let unload = Task { try await manager.unload("raced", ifBusy: .wait) }
    while manager.unloadAttempt(of: "raced")?.policy != .wait { await Task.yield() }
    gates[1].open()
    while scene.rows("raced").contains(where: { $0.activity?.kind == .initialize }) { await Task.yield() }
    unload.cancel()
    if (try? await unload.value) == nil {
      #expect(try await second.value.module.version == "2")
      #expect(scene.call() == 2)
      object.close()
      await scene.whenListed(1, "raced")
    } else {
      // Nothing leads back with this scheme.
      object.close()
      #expect(await moduleError { try await second.value }?.errno == ENOENT)
      await scene.whenListed(0, "raced")
      try await manager.load(path: slow[1])
    }
    try await manager.unload("raced", ifBusy: .wait)
    #expect(!slow.contains(where: isMapped))
  }

  /// An old version whose `exit` refuses is in cleanup, without a name; the next request for the
  /// name tries again.
  @Test(arguments: UnloadScheme.all)
  func exitThatRefusesIsTriedAgain(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme)
    let first = Versions.module(
      "unwilling", 1, functions: "static int refusals = 2;", exit: "return refusals-- > 0 ? -EBUSY : 0;")
    try await scene.manager.load(path: first)
    let replacement = try await scene.manager.replace("unwilling", with: Versions.module("unwilling", 2))
    #expect(scene.call() == 2 && (try? replacement.unload.get()) == nil)
    #expect(await moduleError { try replacement.unload.get() }?.errno == EBUSY)
    #expect(scene.rows("unwilling").map(\.state) == [.cleanup, .live])
    try await scene.manager.replace("unwilling", with: Versions.module("unwilling", 3))
    #expect(scene.call() == 3)
    while scene.rows("unwilling").contains(where: { $0.state == .going }) { await Task.yield() }
    #expect(scene.rows("unwilling").map(\.state) == [.cleanup, .live])
    try await scene.manager.unload("unwilling")
    await scene.whenListed(0, "unwilling")
    #expect(!isMapped(first) && scene.call() == 0)
  }

  /// Without another version under the name, a request is about the one that is still going.
  @Test func versionThatIsStillGoingCanBeForced() async throws {
    let scene = Versions()
    try await scene.manager.load(path: Versions.module("leaving", 1))
    let object = try scene.manager.open("leaving-object", holder: "client")
    try await scene.manager.replace("leaving", with: Versions.module("leaving", 2))
    try await scene.manager.unload("leaving")
    #expect(scene.rows("leaving").map(\.state) == [.going])
    let error = await moduleError { try await scene.manager.unload("leaving") }
    #expect(error?.errno == EBUSY && error?.holders.map(\.label) == ["client holds object leaving-object"])
    let attempt = try #require(scene.manager.unloadAttempt(of: "leaving"))
    #expect(
      await moduleError { try await attempt.cancel() }?.reason.hasPrefix(
        "nothing leads back, since it was replaced") == true)
    let manager = scene.manager
    async let outcome = manager.unload("leaving", ifBusy: .wait)
    object.close()
    #expect((try? await outcome)?.isUnmapped ?? true)
    await scene.whenListed(0, "leaving")
  }

  @Test func replacementWhereItWouldWaitForItselfIsEDEADLK() async throws {
    let scene = Versions()
    let path = Versions.module("inside", 1)
    try await scene.manager.load(path: path)
    let manager = scene.manager
    let error = await onThread {
      Memb.read { _ in
        do throws(ModuleError) { try manager.replace("inside", with: path) } catch { return error.errno }
        return 0
      }
    }
    #expect(error == EDEADLK)
    try await manager.unload("inside")
  }
}
