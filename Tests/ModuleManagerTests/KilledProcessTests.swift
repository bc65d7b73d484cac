import Foundation
import ModuleFiles
import ModuleManager
import TestSupport
import Testing

/// A process that is killed in the middle of a load, an unload, or the writing of an index.
@Suite struct KilledProcessTests {
  let folder = ModuleFolder()

  /// What the next start finds: a sound index, and no lock held.
  @Test(.timeLimit(.minutes(5))) func killedProcessLeavesASoundIndexAndNoLock() async throws {
    await folder.add("base")
    await folder.add("middle", #"QUIESCENT_DEPENDS("base"); QUIESCENT_ALIAS("center");"#)
    await folder.add("top", #"QUIESCENT_DEPENDS("middle,base");"#)
    let path = folder.path
    // A process of its own: what forks here holds up no other test, and is quick.
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String] in
      try ModuleIndex.scan(path) { fatalError("\($0)") }.write()
      let whole = try ModuleIndex(readingFrom: path)
      func isFree(_ name: String) -> Bool {
        let descriptor = open(name, O_RDONLY)
        // The first to be killed may not have come to making it.
        if descriptor < 0 { return errno == ENOENT }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) == 0
      }
      for round in 0..<1000 {
        // From the fork on to some loads later.
        let delay = UInt32.random(in: 0..<8000)
        let end = Forked.run(killedAfter: delay) { KilledProcessTests.loadAndUnload(path) }
        if end != .killed(signal: SIGKILL) { fatalError("round \(round): \(end)") }
        let index = try ModuleIndex(readingFrom: path)
        if try index != whole || index.isStale() { fatalError("round \(round): another index") }
        for name in [path, "\(path)/\(DirectoryLock.fileName)"] where !isFree(name) {
          fatalError("round \(round): \(name) is locked")
        }
      }
      // As good as new.
      let manager = ModuleManager()
      try manager.setDirectory(path)
      try await manager.request("center")
      try await manager.unloadWithUnused("middle")
      let left = Set(try FileManager.default.contentsOfDirectory(atPath: path))
      let known: Set = [
        "base.so", "middle.so", "top.so", ModuleIndex.fileName, "\(ModuleIndex.fileName).new",
        DirectoryLock.fileName,
      ]
      if !left.isSubset(of: known) { fatalError("it left \(left)") }
    }
    #expect(result != nil, "\(result.map { String(decoding: $0.standardErrorContent, as: UTF8.self) } ?? "")")
  }

  /// In the child: for ever. 1 when something is wrong before it is killed.
  private static func loadAndUnload(_ path: String) -> Int32 {
    do {
      while true {
        let manager = ModuleManager()
        try manager.setDirectory(path)
        for _ in 0..<4 {
          try manager.request("top")
          try manager.unload(together: ["base", "middle", "top"])
        }
        let lock = try DirectoryLock(path, isExclusive: true)
        try ModuleIndex.scan(path) { _ in }.write()
        _ = consume lock
      }
    } catch { return 1 }
  }
}
