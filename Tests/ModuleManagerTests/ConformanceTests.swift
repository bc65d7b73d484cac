import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What every scheme must do, with a real image.
@Suite struct ConformanceTests {
  typealias Argument = Guest.Argument

  @Test func everySchemeIsFoundByName() {
    #expect(UnloadScheme.all.first == .bigref)
    #expect(Set(UnloadScheme.all.map(\.name)).count == 9)
    for scheme in UnloadScheme.all {
      #expect(UnloadScheme.named(scheme.name) == scheme)
      #expect(!scheme.summary.isEmpty && !scheme.source.isEmpty)
    }
    #expect(UnloadScheme.named("nosuch") == nil)
  }

  @Test(arguments: UnloadScheme.all)
  func moduleIsLoadedCalledAndUnmapped(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    for _ in 0..<5 {
      let status = try await manager.load(path: path)
      #expect(status.scheme == scheme.name)
      var argument = Argument()
      #expect(point.dispatch(&argument).called == 1)
      #expect(argument.magic == Guest.magic)
      #expect(isMapped(path))
      #expect(try await manager.unload("guest").isUnmapped)
      #expect(!isMapped(path))
      #expect(point.dispatch(&argument).called == 0)
      #expect(manager.list().isEmpty && manager.objects().isEmpty)
    }
  }

  @Test(arguments: UnloadScheme.all)
  func moduleOverridesTheManagersScheme(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(.bigref)
    #expect(try await manager.load(path: Guest.file(), scheme: scheme).scheme == scheme.name)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func unloadOfAnUnknownModuleIsENOENT(_ scheme: UnloadScheme) async {
    let manager = Guest.manager(scheme).manager
    #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT)
  }

  @Test(arguments: UnloadScheme.all)
  func busyUnloadNamesHoldersAndKeepsService(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let object = try manager.open("guest-object", holder: "client 7")
    let error = await moduleError { try await manager.unload("guest") }
    #expect(error?.errno == scheme.busyErrno)
    #expect(error?.holders == manager.list().first?.holders)
    #expect(error?.reason == "in use: client 7 holds object guest-object")
    #expect(manager.list().first?.state == .live)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    #expect(try object.read(from: 1, upTo: 10) == Array("ello".utf8))
    let second = try manager.open("guest-object", holder: "client 8")
    object.close()
    #expect(await moduleError { try await manager.unload("guest") }?.errno == scheme.busyErrno)
    second.close()
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func countersKeepTheModule(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    var take = Argument(.acquireCount)
    var give = Argument(.releaseCount)
    for _ in 0..<2 { #expect(point.dispatch(&take).called == 1) }
    let error = await moduleError { try await manager.unload("guest") }
    #expect(error?.errno == scheme.busyErrno)
    #expect(error?.reason == "in use: packets in flight × 2")
    #expect(manager.list().first?.state == .live)
    for _ in 0..<2 { #expect(point.dispatch(&give).called == 1, "its hooks are on the point") }
    #expect(try await manager.unload("guest").isUnmapped)
    #expect(!isMapped(path))
  }

  @Test(arguments: UnloadScheme.all)
  func referencesKeepTheModule(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    var argument = Argument(.acquire)
    #expect(point.dispatch(&argument).called == 1)
    #expect(argument.result == 0)
    let error = await moduleError { try await manager.unload("guest") }
    #expect(error?.errno == scheme.busyErrno)
    #expect(error?.reason == "in use: reference")
    argument = Argument(.release)
    #expect(point.dispatch(&argument).called == 1)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func waitEndsAtTheLastPut(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let first = try manager.open("guest-object", holder: "first")
    let second = try manager.open("guest-object", holder: "second")
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    let error = await moduleError { try await manager.unload("guest") }
    #expect(error?.errno == EBUSY, "the second unload does not wait")
    #expect(error?.reason.hasPrefix("is going already") == true)
    first.close()
    #expect(try second.read(from: 0, upTo: 1) == Array("h".utf8))
    #expect(isMapped(path))
    second.close()
    #expect(try await outcome.isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func loadWaitsForAModuleThatIsGoing(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let object = try manager.open("guest-object", holder: "client")
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    async let again = manager.load(path: path)
    object.close()
    #expect(try await outcome.isUnmapped)
    #expect(try await again.state == .live)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func loadFailsIfTheModuleCannotBeUnloaded(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    let path = Guest.file(refusals: 1)
    try await manager.load(path: path)
    let object = try manager.open("guest-object", holder: "client")
    async let refused = moduleError { try await manager.unload("guest", ifBusy: .wait) }
    while manager.list().first?.state != .going { await Task.yield() }
    async let again = moduleError { try await manager.load(path: path) }
    // Queued behind the load on the manager's thread: the load is waiting by now.
    #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT)
    object.close()
    #expect(await refused?.errno == EBUSY)
    #expect(await again?.errno == EEXIST)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all, 1...4)
  func failedInitLeavesNothing(_ scheme: UnloadScheme, _ step: Int) async {
    let (manager, point) = Guest.manager(scheme, isPatient: true)
    let path = Guest.file(failingAt: step)
    let error = await moduleError { try await manager.load(path: path) }
    #expect(error?.description == "guest: its init failed (ENODEV)")
    // It is answered after the last look at its users: by then its interfaces are down.
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 0)
    await whenGone("guest", manager)
    #expect(manager.list().isEmpty && manager.objects().isEmpty)
    #expect(!isMapped(path))
  }

  @Test(arguments: UnloadScheme.all)
  func refusedExitIsRetried(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file(refusals: 2)
    try await manager.load(path: path)
    for _ in 0..<2 {
      let error = await moduleError { try await manager.unload("guest") }
      #expect(error?.errno == EBUSY)
      #expect(manager.list().first?.state == .cleanup)
      var argument = Argument()
      #expect(point.dispatch(&argument).called == 0, "its interfaces are down")
      #expect(await moduleError { try manager.open("guest-object", holder: "late") }?.errno == ENOENT)
    }
    #expect(try await manager.unload("guest").isUnmapped)
    #expect(!isMapped(path))
  }

  @Test(arguments: UnloadScheme.all)
  func unloadWaitsForACallInProgress(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let flags = HookFlags()
    let isOut = Counter()
    async let magic = onThread { () -> Int32 in
      var argument = Argument(.wait, flags: flags.address)
      _ = point.dispatch(&argument)
      return argument.magic
    }
    while !flags.isInside { await Task.yield() }
    async let outcome = unload(manager, isOut)
    while manager.list().first?.state != .going { await Task.yield() }
    for _ in 0..<2000 { await Task.yield() }
    #expect(isOut.value == 0)
    #expect(isMapped(path))
    flags.letGo()
    #expect(await magic == Guest.magic)
    #expect(try await outcome.isUnmapped)
    #expect(!isMapped(path))
  }

  @Test(arguments: UnloadScheme.all)
  func unmapWaitsForTheReturnOfTheLastPut(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let flags = HookFlags()
    let isOut = Counter()
    async let last: Void = onThread {
      var packet = Argument(.attachSlow, flags: flags.address)
      _ = point.dispatch(&packet)
      // Releases its count, and stays in the module's code until the flag is raised.
      packet.finish()
    }
    while !flags.isInside { await Task.yield() }
    async let outcome = unload(manager, isOut)
    while manager.list().first?.state != .going { await Task.yield() }
    for _ in 0..<2000 { await Task.yield() }
    #expect(isOut.value == 0)
    flags.letGo()
    await last
    #expect(try await outcome.isUnmapped)
  }

  private func unload(_ manager: ModuleManager, _ isOut: Counter) async throws -> UnloadOutcome {
    defer { isOut.add(1) }
    return try await manager.unload("guest", ifBusy: .wait)
  }

  @Test(arguments: UnloadScheme.all)
  func unloadInsideAHookIsEDEADLK(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    var argument = Argument(.unload)
    #expect(point.dispatch(&argument).called == 1)
    #expect(argument.result == -EDEADLK)
    let error = await onThread {
      Memb.read { _ -> Int32 in
        do throws(ModuleError) { _ = try manager.unload("guest") } catch { return error.errno }
        return 0
      }
    }
    #expect(error == EDEADLK)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func retiredCallbacksRunBeforeUnmap(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    for _ in 0..<100 {
      var argument = Argument(.retire)
      _ = point.dispatch(&argument)
      #expect(argument.result == 0)
    }
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test(arguments: UnloadScheme.all)
  func forceAsksUsersToGoWaitsAndTaints(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let told = Counter()
    let object = try manager.open("guest-object", holder: "client 9") { told.add(1) }
    async let outcome = manager.unload("guest", ifBusy: .force)
    while told.value == 0 { await Task.yield() }
    #expect(await moduleError { try manager.open("guest-object", holder: "late") }?.errno == ENOENT)
    #expect(try object.read(from: 0, upTo: 5) == Array("hello".utf8), "it stays readable")
    object.close()
    #expect(try await outcome.isUnmapped)
    #expect(told.value == 1)
    #expect(manager.taints.map(\.module) == ["guest"])
    #expect(manager.taints.first?.holders.map(\.label) == ["client 9 holds object guest-object"])
  }

  @Test(arguments: UnloadScheme.all)
  func forceWithoutUsersLeavesNoTaint(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    #expect(try await manager.unload("guest", ifBusy: .force).isUnmapped)
    #expect(manager.taints.isEmpty)
  }

  @Test(arguments: UnloadScheme.all)
  func permanentModuleIsNeverUnloaded(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let policy = ModulePolicy(scheme: scheme, isPermanent: true)
    try await manager.load(path: Guest.file(), policy: policy)
    #expect(await moduleError { try await manager.unload("guest", ifBusy: .force) }?.errno == EBUSY)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
  }
}
