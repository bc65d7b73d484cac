import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules that stay in service until they have no users, and are unloaded then.
@Suite struct WhenIdleTests {
  typealias Argument = Guest.Argument

  /// Checks that the module works as before: it is called, counts, and can be opened.
  private func expectService(_ manager: ModuleManager, _ point: Guest.Point) async throws {
    while manager.list().first?.state != .live { await Task.yield() }
    for command in [Guest.Command.look, .acquireCount, .releaseCount] {
      var argument = Argument(command)
      #expect(point.dispatch(&argument).called == 1)
      #expect(argument.magic == Guest.magic)
    }
    let object = try manager.open("guest-object", holder: "another")
    #expect(try object.read(from: 0, upTo: 9) == Array("hello".utf8))
    object.close()
  }

  @Test(arguments: UnloadScheme.all)
  func idleUnloadHappensAfterTheLastUser(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let first = try manager.open("guest-object", holder: "first")
    async let outcome = manager.unload("guest", ifBusy: .whenIdle)
    for _ in 0..<20 { try await expectService(manager, point) }
    let second = try manager.open("guest-object", holder: "second")
    first.close()
    try await expectService(manager, point)
    #expect(manager.list().first?.holders.map(\.label) == ["second holds object guest-object"])
    second.close()
    #expect(try await outcome.isUnmapped)
    #expect(!isMapped(path))
    // At once if there are no users.
    try await manager.load(path: path)
    #expect(try await manager.unload("guest", ifBusy: .whenIdle, within: .seconds(60)).isUnmapped)
  }

  /// After the time limit or a cancellation the module can be used and unloaded, with every scheme.
  @Test(arguments: UnloadScheme.all)
  func moduleStaysInServiceAfterAnIdleWaitEnds(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let object = try manager.open("guest-object", holder: "client")
    for _ in 0..<3 {
      let error = await moduleError {
        try await manager.unload("guest", ifBusy: .whenIdle, within: .milliseconds(1))
      }
      #expect(
        error?.description
          == "guest: waited 0.001 seconds, in use: client holds object guest-object (ETIMEDOUT)")
      try await expectService(manager, point)
    }
    let cancellation = WaitCancellation()
    async let cancelled = onThread { () -> Int32 in
      do throws(ModuleError) {
        try manager.unload("guest", ifBusy: .whenIdle, cancelledBy: cancellation)
      } catch { return error.errno }
      return 0
    }
    let task = Task { try await manager.unload("guest", ifBusy: .whenIdle) }
    try await expectService(manager, point)
    cancellation.cancel()
    #expect(await cancelled == EINTR)
    task.cancel()
    let deserted = await task.result
    #expect(throws: ModuleError.self) { _ = try deserted.get() }
    try await expectService(manager, point)
    object.close()
    #expect(try await manager.unload("guest").isUnmapped)
    #expect(!isMapped(path))
  }

  /// A call that was inside takes a reference while the interfaces are unregistered: they are
  /// registered again, with every scheme.
  @Test(arguments: UnloadScheme.all, [Guest.Command.waitAndCount, .waitAndAcquire])
  func userDuringTheAttemptRestoresService(_ scheme: UnloadScheme, _ command: Guest.Command) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let flags = HookFlags()
    let packet = Shared(Locked(Argument(command, flags: flags.address)))
    async let call: Void = onThread {
      var argument = packet.value.withLock { $0 }
      _ = point.dispatch(&argument)
      packet.value.withLock { [argument] in $0 = argument }
    }
    while !flags.isInside { await Task.yield() }
    // Else the manager attempts the unload, and the attempt waits for the call.
    let callIsUser = manager.list().first?.users == 1
    async let outcome = manager.unload("guest", ifBusy: .whenIdle)
    if !callIsUser {
      while manager.list().first?.state != .going { await Task.yield() }
    }
    flags.letGo()
    await call
    if packet.value.withLock({ $0.callbackCount }) > 0 {
      try await expectService(manager, point)
      #expect(manager.list().first?.users == 1)
    } else {
      // Its reference was refused, because the module was going at that moment.
      #expect(command == .waitAndAcquire && !callIsUser)
    }
    packet.value.withLock { $0 }.finish()
    #expect(try await outcome.isUnmapped)
    #expect(!isMapped(path))
  }

  /// No call is lost while the module is unloaded and loaded under its users, and in the end it is
  /// unloaded.
  @Test(.exclusive, arguments: UnloadScheme.all)
  func idleUnloadLosesNoCallUnderTraffic(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let done = Counter(), opened = Counter(), wrong = Lines()
    async let traffic: Void = onThreads(2) { index in
      var round = 0
      while done.value == 0 {
        round += 1
        var argument = Argument(.look)
        let isCalled = point.dispatch(&argument).called == 1
        if isCalled && argument.magic != Guest.magic { wrong.add("\(argument.magic)") }
        if round % 3 != index { continue }
        do throws(ModuleError) {
          let object = try manager.open("guest-object", holder: "client \(index)")
          opened.add(1)
          if try object.read(from: 0, upTo: 9) != Array("hello".utf8) { wrong.add("object") }
          object.close()
        } catch { if error.errno != ENOENT { wrong.add("\(error)") } }
      }
    }
    for _ in 0..<20 {
      #expect(try await manager.unload("guest", ifBusy: .whenIdle, within: .seconds(60)).isUnmapped)
      #expect(!isMapped(path))
      try await manager.load(path: path)
      let target = opened.value + 20
      while opened.value < target { await Task.yield() }
    }
    done.add(1)
    await traffic
    #expect(wrong.all.isEmpty, "\(wrong.all.prefix(3))")
    #expect(try await manager.unload("guest").isUnmapped)
  }

  /// The refusal of `cleanup` or `exit` is the answer; the unload is not tried again and again.
  @Test func refusalEndsTheIdleWait() async throws {
    let (manager, _) = Guest.manager(.activeBit)
    let calls = Lines()
    manager.setLog { _, line in calls.add(line) }
    try await manager.load(path: Guest.file("guest", failingAt: 0, refusals: 0, ", .cleanup = cleanup"))
    try await manager.unload("guest", ifBusy: .whenIdle)
    try await manager.load(path: Guest.file(refusals: 1))
    #expect(await moduleError { try await manager.unload("guest", ifBusy: .whenIdle) }?.errno == EBUSY)
    #expect(manager.list().first?.state == .cleanup)
    #expect(try await manager.unload("guest", ifBusy: .whenIdle).isUnmapped)
  }
}
