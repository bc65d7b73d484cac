import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// A request that waits until a module can be unloaded is woken by the release of the last
/// reference, of any kind.
@Suite struct UnusedTests {
  typealias Argument = Guest.Argument

  /// Only keeps a failing test from hanging.
  private static let limit = Duration.seconds(60)

  private func errno(_ manager: ModuleManager, _ name: String, within limit: Duration) async -> Int32 {
    await moduleError { try await manager.waitUntilUnused(name, within: limit) }?.errno ?? 0
  }

  /// One kind of user after the other: the wait does not end before it, and ends with it.
  @Test(arguments: UnloadScheme.all)
  func lastPutOfEveryKindEndsTheWait(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    try await manager.waitUntilUnused("guest")
    func call(_ command: Guest.Command) {
      var argument = Argument(command)
      #expect(point.dispatch(&argument).called == 1)
    }
    let object = Locked<OpenObject?>(nil)
    let kinds: [(label: String, take: () throws -> Void, give: () -> Void)] = [
      (
        "client 1 holds object guest-object",
        {
          let opened = try manager.open("guest-object", holder: "client 1")
          object.withLock { $0 = opened }
        },
        { object.withLock { $0.take() }?.close() }
      ),
      ("packets in flight", { call(.acquireCount) }, { call(.releaseCount) }),
      ("reference", { call(.acquire) }, { call(.release) }),
    ]
    for kind in kinds {
      try kind.take()
      let error = await moduleError { try await manager.waitUntilUnused("guest", within: .milliseconds(1)) }
      #expect(error?.description == "guest: waited 0.001 seconds, in use: \(kind.label) (ETIMEDOUT)")
      #expect(error?.holders.map(\.label) == [kind.label])
      let isOver = Counter()
      async let wait: Void = {
        defer { isOver.add(1) }
        try await manager.waitUntilUnused("guest", within: Self.limit)
      }()
      // Whatever the manager's thread does meanwhile, this is not a reason to go on.
      for _ in 0..<3 {
        try await manager.load(BuiltInModule("other") { _ in 0 })
        try await manager.unload("other")
      }
      #expect(isOver.value == 0)
      kind.give()
      try await wait
    }
    #expect(manager.list().map(\.state) == [.live], "nothing was done to it")
    #expect(try await manager.unload("guest").isUnmapped)
  }

  /// Behind a gate a call is a user: when it returns, that is noticed too.
  @Test(arguments: UnloadScheme.all)
  func returningCallEndsTheWait(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    for _ in 0..<20 {
      let flags = HookFlags()
      async let call: Void = onThread {
        var argument = Argument(.wait, flags: flags.address)
        _ = point.dispatch(&argument)
      }
      while !flags.isInside { await Task.yield() }
      async let isUnused: Void = manager.waitUntilUnused("guest", within: Self.limit)
      for _ in 0..<50 { await Task.yield() }
      flags.letGo()
      await call
      try await isUnused
    }
    try await manager.unload("guest")
  }

  @Test func unloadedDependentEndsTheWait() async throws {
    let manager = ModuleManager()
    let folder = ModuleFolder()
    await folder.add("base")
    await folder.add("top", #"QUIESCENT_DEPENDS("base");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("top")
    #expect(await errno(manager, "base", within: .milliseconds(1)) == ETIMEDOUT)
    async let isUnused: Void = manager.waitUntilUnused("base", within: Self.limit)
    try await manager.unload("top")
    try await isUnused
    try await manager.unload("base", ifBusy: .fail)
  }

  @Test func impossibleWaitIsRefused() async throws {
    let (manager, point) = Guest.manager(.bigref)
    #expect(
      await moduleError { try await manager.waitUntilUnused("nosuch") }?.description
        == "nosuch: no such module is loaded (ENOENT)")
    try await manager.load(
      BuiltInModule("permanent") { _ in 0 }, policy: ModulePolicy(isPermanent: true))
    #expect(await errno(manager, "permanent", within: Self.limit) == EBUSY)
    try await manager.load(path: Guest.file())
    let inside = await onThread {
      Memb.read { _ -> Int32 in
        do throws(ModuleError) { try manager.waitUntilUnused("guest") } catch { return error.errno }
        return 0
      }
    }
    #expect(inside == EDEADLK)
    let object = try manager.open("guest-object", holder: "client")
    let cancellation = WaitCancellation()
    async let cancelled = onThread { () -> Int32 in
      do throws(ModuleError) { try manager.waitUntilUnused("guest", cancelledBy: cancellation) } catch {
        return error.errno
      }
      return 0
    }
    let task = Task { try await manager.waitUntilUnused("guest") }
    cancellation.cancel()
    #expect(await cancelled == EINTR)
    task.cancel()
    #expect(await moduleError { try await task.value }?.errno == ECANCELED)
    // It goes while one waits.
    async let gone = errno(manager, "guest", within: Self.limit)
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().last?.state != .going { await Task.yield() }
    object.close()
    _ = try await outcome
    #expect([ENOENT, 0].contains(await gone), "unused, or not there any more: never for ever")
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 0)
  }

  /// One that is going, and one that refused to go.
  ///
  /// The put that queues the look is not the last, and the last one, which queues the end of the
  /// unload, finds a look queued: that look sees a module that is going. So the end of the unload
  /// has to look again.
  @Test func changeOfStateEndsTheWait() async throws {
    let (manager, _) = Guest.manager(.bigref)
    let path = Guest.file(refusals: 1)
    for _ in 0..<10 {
      try await manager.load(path: path)
      let first = try manager.open("guest-object", holder: "first")
      let second = try manager.open("guest-object", holder: "second")
      async let refused = moduleError { try await manager.unload("guest", ifBusy: .wait) }
      while manager.list().first?.state != .going { await Task.yield() }
      async let isUnused: Void = manager.waitUntilUnused("guest", within: Self.limit)
      for _ in 0..<3 {
        try await manager.load(BuiltInModule("other") { _ in 0 })
        try await manager.unload("other")
      }
      let mayStart = Counter()
      async let slow = manager.load(
        BuiltInModule("slow") { _ in
          while mayStart.value == 0 { sched_yield() }
          return 0
        })
      while manager.list().last?.state != .coming { await Task.yield() }
      first.close()
      second.close()
      mayStart.add(1)
      _ = try await (slow, isUnused)
      #expect(await refused?.errno == EBUSY)
      #expect(manager.list().first?.state == .cleanup)
      try await manager.waitUntilUnused("guest", within: Self.limit)
      #expect(try await manager.unload("guest").isUnmapped)
      try await manager.unload("slow")
    }
  }

  /// The put and the wait at the same moment: none is missed. (For want of the barrier none was
  /// either, on x86-64 in a million rounds: its store buffer is emptied too soon.)
  /// `UNUSED_ROUNDS=1000000` for a long run.
  @Test(.exclusive, arguments: [UnloadScheme.bigref, .oneAtomic])
  func putThatRacesWithTheWaitIsNotLost(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let rounds = ProcessInfo.processInfo.environment["UNUSED_ROUNDS"].flatMap { Int($0) } ?? 200
    let turn = Counter(), late = Counter()
    await onThreads(2) { index in
      Affinity.keep(index)
      for round in 0..<rounds {
        if index == 0 {
          var argument = Argument(.acquireCount)
          _ = point.dispatch(&argument)
          turn.add(1)
          for _ in 0..<(round % 97) { sched_yield() }
          argument = Argument(.releaseCount)
          _ = point.dispatch(&argument)
          while turn.value < 2 * round + 2 { sched_yield() }
        } else {
          while turn.value < 2 * round + 1 { sched_yield() }
          do { try manager.waitUntilUnused("guest", within: Self.limit) } catch { late.add(1) }
          turn.add(1)
        }
      }
    }
    #expect(late.value == 0)
    #expect(try await manager.unload("guest").isUnmapped)
  }

  /// A put that has begun when the wait begins, and gives back when the wait has looked: it looks
  /// for a wait afterwards.
  @Test func putInProgressEndsTheWait() async throws {
    let manager = ModuleManager(scheme: SlowPut.scheme)
    try await manager.load(path: SampleModules.publishing("sluggish"))
    let object = try manager.open("sluggish-object", holder: "client")
    SlowPut.mayReturn.add(-1)
    async let closed: Void = onThread { object.close() }
    while SlowPut.inside.value == 0 { await Task.yield() }
    let before = SlowPut.looks.value
    async let isUnused: Void = manager.waitUntilUnused("sluggish", within: Self.limit)
    while SlowPut.looks.value == before { await Task.yield() }
    SlowPut.mayReturn.add(1)
    _ = try await (closed, isUnused)
    try await manager.unload("sluggish")
  }
}

/// A scheme whose put can be held before it gives back.
private final class SlowPut: Scheme {
  static let mayReturn = Counter(1), inside = Counter(), looks = Counter()
  static let scheme = UnloadScheme("slow-put", "", source: "", promises: [], busyErrno: EBUSY) { _ in
    SlowPut()
  }

  private let users = Counter()

  func get() -> Bool {
    users.add(1)
    return true
  }

  func put() {
    Self.inside.add(1)
    while Self.mayReturn.value == 0 { sched_yield() }
    users.add(-1)
  }

  var references: Int {
    Self.looks.add(1)
    return users.value
  }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    operation.unregisterInterfaces()
    operation.afterReaders { operation.leave() }
  }
}
