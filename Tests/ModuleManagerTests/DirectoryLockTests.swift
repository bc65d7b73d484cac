import Foundation
import ModuleFiles
import ModuleManager
import TestSupport
import Testing

/// Loaders share a module directory's lock; a writer of its index has it alone.
@Suite struct DirectoryLockTests {
  let folder = ModuleFolder()

  /// Takes the lock with another open file description, as another process would.
  private func take(_ isExclusive: Bool, _ taken: Counter, until released: Counter) async {
    let path = folder.path
    await onThread {
      do {
        let lock = try DirectoryLock(path, isExclusive: isExclusive, within: .seconds(600))
        taken.add(1)
        while released.value == 0 { usleep(100) }
        _ = consume lock
        taken.add(-1)
      } catch { Issue.record("\(error)") }
    }
  }

  @Test func loadersShareTheLockAndDepmodExcludesThem() async {
    let shared = Counter(), exclusive = Counter(), sharedEnd = Counter(), exclusiveEnd = Counter()
    async let one: Void = take(false, shared, until: sharedEnd)
    async let two: Void = take(false, shared, until: sharedEnd)
    while shared.value < 2 { await Task.yield() }
    async let writer: Void = take(true, exclusive, until: exclusiveEnd)
    // The writer queues; a later loader waits behind it, although others still share the lock.
    let line = folder.path + "/\(DirectoryLock.fileName)"
    while !isLocked(line) { await Task.yield() }
    let late = Counter()
    async let three: Void = take(false, late, until: sharedEnd)
    #expect(exclusive.value == 0 && late.value == 0)
    sharedEnd.add(1)
    while exclusive.value == 0 { await Task.yield() }
    #expect(late.value == 0 && shared.value == 0)
    exclusiveEnd.add(1)
    _ = await (one, two, writer, three)
  }

  private func isLocked(_ path: String) -> Bool {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer {
      // A child that is forked meanwhile has the descriptor too: it would wait for itself.
      flock(descriptor, LOCK_UN)
      close(descriptor)
    }
    return flock(descriptor, LOCK_EX | LOCK_NB) != 0
  }

  /// A request waits for the writer, and the manager does not; when the writer's process dies, the
  /// request goes on.
  @Test func waitingRequestDoesNotBlockTheManager() async throws {
    let manager = ModuleManager()
    await folder.add("one")
    let other = await folder.add("other")
    try manager.setDirectory(folder.path, lockedWithin: .seconds(600))
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    // In the place of the shell, so that the signal meets the holder of the lock.
    process.arguments = ["flock", "-x", "--no-fork", folder.path, "sh", "-c", "echo locked; exec sleep 600"]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    #expect(await onThread { output.fileHandleForReading.availableData } == Data("locked\n".utf8))
    let isThere = Counter()
    async let status = onThread {
      do {
        let status = try manager.request("one")
        isThere.add(1)
        return status.map(\.name)
      } catch { return ["\(error)"] }
    }
    for _ in 0..<5 {
      try await manager.load(path: other)
      try await manager.unload("other")
    }
    #expect(isThere.value == 0)
    kill(process.processIdentifier, SIGKILL)
    await onThread { process.waitUntilExit() }
    #expect(await status == ["one"])
    try await manager.unload("one")
  }

  /// A stranger that keeps the lock costs a request its limit, and the manager nothing.
  @Test func requestFailsAtTheLimitAndNamesTheHolder() async throws {
    let manager = ModuleManager()
    await folder.add("one")
    try manager.setDirectory(folder.path, lockedWithin: .milliseconds(50))
    let exclusive = Counter(), end = Counter()
    async let writer: Void = take(true, exclusive, until: end)
    while exclusive.value == 0 { await Task.yield() }
    let error = await moduleError { try await manager.request("one") }
    #expect(error?.errno == ETIMEDOUT)
    #expect(error?.reason.hasPrefix("cannot be locked within 0.05 s: held by process \(getpid()) (") == true)
    #expect(manager.list().isEmpty)
    end.add(1)
    await writer
    try await manager.request("one")
    try await manager.unload("one")
  }

  @Test func missingDirectoryIsAnError() {
    #expect(throws: ModuleFileError.self) { _ = try DirectoryLock("/nothing", isExclusive: true) }
  }

  /// What a module's `init`, which runs under the lock, gets when it asks for it: an error number
  /// or 0, and the reason.
  private func inInit(_ body: @escaping @Sendable () -> String) async throws -> String {
    let manager = ModuleManager()
    let answer = Lines()
    try manager.setDirectory(folder.path)
    manager.provide([
      BuiltInModule("asking") { _ in
        answer.add(body())
        return 0
      }
    ])
    try await manager.request("asking")
    try await manager.unload("asking")
    return answer.all.joined()
  }

  private static func answer(_ path: String, isExclusive: Bool) -> String {
    do throws(ModuleFileError) {
      _ = try DirectoryLock(path, isExclusive: isExclusive, within: .seconds(600))
      return "taken"
    } catch { return "\(error)" }
  }

  @Test func exclusiveLockInsideInitIsRefused() async throws {
    let path = folder.path
    #expect(
      try await inInit { Self.answer(path, isExclusive: true) }
        == "\(path): cannot be locked by the thread that has its lock: it would wait for itself (EDEADLK)")
    #expect(try await inInit { Self.answer(path, isExclusive: false) } == "taken")
    // Nothing is left of it.
    #expect(await onThread { Self.answer(path, isExclusive: true) } == "taken")
  }

  /// Also when the load had to wait for the lock, which another thread than the one that runs
  /// `init` has taken then.
  @Test func loadHoldsTheLockAfterItsWait() async throws {
    let path = folder.path
    let exclusive = Counter(), end = Counter()
    async let writer: Void = take(true, exclusive, until: end)
    while exclusive.value == 0 { await Task.yield() }
    async let answer = inInit { Self.answer(path, isExclusive: true) }
    while !isLocked(path + "/\(DirectoryLock.fileName)") { await Task.yield() }
    end.add(1)
    #expect(try await answer.hasSuffix("it would wait for itself (EDEADLK)"))
    await writer
  }

  /// It has the lock shared, and a writer queues for it.
  @Test func nestedSharedLockPassesWaitingWriters() async throws {
    let path = folder.path
    let exclusive = Counter(), end = Counter(1), isInside = Counter()
    async let answer = inInit {
      isInside.add(1)
      while !self.isLocked(path + "/\(DirectoryLock.fileName)") { usleep(100) }
      return Self.answer(path, isExclusive: false)
    }
    while isInside.value == 0 { await Task.yield() }
    async let writer: Void = take(true, exclusive, until: end)
    #expect(try await answer == "taken")
    await writer
  }

  /// A process that `init` starts and waits for: from the thread that has the lock. A grandchild is
  /// no better off.
  @Test func childOfAnInitIsRefused() async throws {
    let path = folder.path
    @Sendable func exits(_ isExclusive: Bool) -> Int32 {
      do throws(ModuleFileError) {
        _ = try DirectoryLock(path, isExclusive: isExclusive)
        return 0
      } catch { return error.errno }
    }
    let child = try await inInit { "\(Forked.run { exits(true) })" }
    #expect(child == "\(Forked.exited(EDEADLK))")
    #expect(try await inInit { "\(Forked.run { exits(false) })" } == "\(Forked.exited(0))")
    let grandchild = try await inInit {
      "\(Forked.run { Forked.run { exits(true) } == .exited(EDEADLK) ? 7 : 8 })"
    }
    #expect(grandchild == "\(Forked.exited(7))")
  }

  /// One that another thread of the process has started waits: no thread that has the lock waits
  /// for it.
  @Test func childOfAnotherThreadWaits() async {
    let path = folder.path
    let shared = Counter(), end = Counter()
    async let holder: Void = take(false, shared, until: end)
    while shared.value == 0 { await Task.yield() }
    async let child = onThread {
      Forked.run { Self.answer(path, isExclusive: true) == "taken" ? 0 : 1 }
    }
    while !isLocked(path + "/\(DirectoryLock.fileName)") { await Task.yield() }
    #expect(shared.value == 1)
    end.add(1)
    #expect(await child == .exited(0))
    await holder
  }
}
