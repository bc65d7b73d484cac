import Foundation
import ModuleManager
import TestSupport
import Testing

/// Loaders of a module directory together, who writes its index alone.
@Suite struct DirectoryLockTests {
  let folder = IndexTests.Folder()

  /// Takes the lock with another open file description, as another process would.
  private func take(_ isExclusive: Bool, _ taken: Counter, until released: Counter) async {
    let path = folder.path
    await onThread {
      do {
        let lock = try DirectoryLock(path, isExclusive: isExclusive)
        taken.add(1)
        while released.value == 0 { usleep(100) }
        _ = consume lock
        taken.add(-1)
      } catch { Issue.record("\(error)") }
    }
  }

  @Test func loadersShareItAndAWriterIsAlone() async {
    let shared = Counter(), exclusive = Counter(), sharedEnd = Counter(), exclusiveEnd = Counter()
    async let one: Void = take(false, shared, until: sharedEnd)
    async let two: Void = take(false, shared, until: sharedEnd)
    while shared.value < 2 { await Task.yield() }
    async let writer: Void = take(true, exclusive, until: exclusiveEnd)
    // The writer stands in line; who comes after it waits behind it, though others share the lock still.
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
    defer { close(descriptor) }
    return flock(descriptor, LOCK_EX | LOCK_NB) != 0
  }

  /// A request waits for the writer, and the manager for nobody; when the writer's process dies, the request goes on.
  @Test func aRequestWaitsAndTheManagerDoesNot() async throws {
    let manager = ModuleManager()
    await folder.add("one")
    let other = await folder.add("other")
    try manager.setDirectory(folder.path)
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    // In the place of the shell, so that the signal meets who holds the lock.
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

  @Test func aDirectoryThatIsNotThere() {
    #expect(throws: ModuleError.self) { _ = try DirectoryLock("/nothing", isExclusive: true) }
  }
}
