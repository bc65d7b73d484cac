import Foundation
import ModuleFiles
import TestSupport
import Testing

/// A process that holds a lock of the module directory holds up no other one for longer than the
/// limit.
@Suite struct FileLockTests {
  let folder = ModuleFolder()

  /// A process of another program that holds the lock of a file until it is killed.
  private func stranger(_ path: String, _ option: String = "-x") async throws -> Process {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["flock", option, "--no-fork", path, "sh", "-c", "echo locked; exec sleep 600"]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    #expect(await onThread { output.fileHandleForReading.availableData } == Data("locked\n".utf8))
    return process
  }

  private func end(_ process: Process) async {
    kill(process.processIdentifier, SIGKILL)
    await onThread { process.waitUntilExit() }
  }

  private func refusal(_ isExclusive: Bool, after limit: Duration = .milliseconds(50)) async -> String {
    let path = folder.path
    return await onThread {
      do throws(ModuleFileError) {
        _ = try DirectoryLock(path, isExclusive: isExclusive, within: limit)
        return "taken"
      } catch { return "\(error)" }
    }
  }

  @Test func holderOfTheQueueIsNamedAtTheLimit() async throws {
    #expect(await refusal(false) == "taken")
    let file = "\(folder.path)/\(DirectoryLock.fileName)"
    let process = try await stranger(file)
    let holder = "process \(process.processIdentifier) (sleep)"
    for isExclusive in [false, true] {
      #expect(
        await refusal(isExclusive) == "\(file): cannot be locked within 0.05 s: held by \(holder) (ETIMEDOUT)"
      )
    }
    await end(process)
    #expect(await refusal(true) == "taken")
  }

  @Test(arguments: ["-x", "-s"]) func holderOfTheDirectoryIsNamedAtTheLimit(_ option: String) async throws {
    let process = try await stranger(folder.path, option)
    let holder = "process \(process.processIdentifier) (sleep)"
    #expect(
      await refusal(true)
        == "\(folder.path): cannot be locked within 0.05 s: held by \(holder) (ETIMEDOUT)")
    #expect((await refusal(false) == "taken") == (option == "-s"))
    await end(process)
    #expect(await refusal(true) == "taken")
  }

  /// A waiter that gave up left the queue: the next one is first.
  @Test func waiterThatGaveUpLeavesTheQueue() async throws {
    let process = try await stranger(folder.path)
    for _ in 0..<3 { #expect(await refusal(true).hasSuffix("(ETIMEDOUT)")) }
    await end(process)
    #expect(await refusal(false) == "taken")
  }

  @Test func holderOfTheNewIndexIsNamedAtTheLimit() async throws {
    await folder.add("one")
    let index = try ModuleIndex.scan(folder.path)
    let file = "\(folder.path)/\(ModuleIndex.fileName).new"
    try folder.write("\(ModuleIndex.fileName).new", "")
    let process = try await stranger(file)
    let error = await onThread { () -> ModuleFileError? in
      do throws(ModuleFileError) {
        try index.write(within: .milliseconds(50))
        return nil
      } catch { return error }
    }
    #expect(error?.errno == ETIMEDOUT)
    #expect(error?.reason.contains("held by process \(process.processIdentifier) (sleep)") == true)
    await end(process)
    try index.write()
    #expect(try ModuleIndex(readingFrom: folder.path) == index)
  }

  /// Other users cannot open what they could lock, unless the mode says so.
  @Test func queueFileIsPrivateAndKeepsItsMode() async throws {
    #expect(await refusal(true) == "taken")
    let file = "\(folder.path)/\(DirectoryLock.fileName)"
    var status = stat()
    #expect(stat(file, &status) == 0 && status.st_mode & 0o7777 == 0o600)
    #expect(chmod(file, 0o640) == 0)
    #expect(await refusal(true) == "taken")
    #expect(stat(file, &status) == 0 && status.st_mode & 0o7777 == 0o640)
  }

  /// A process that may not read the file of the queue does not queue: it takes the directory's
  /// lock all the same.
  @Test(.enabled(if: geteuid() != 0, "root may read every file"))
  func unreadableQueueFileIsSkipped() async throws {
    #expect(await refusal(true) == "taken")
    let file = "\(folder.path)/\(DirectoryLock.fileName)"
    let process = try await stranger(file)
    #expect(chmod(file, 0) == 0)
    #expect(await refusal(true) == "taken")
    await end(process)
  }
}
