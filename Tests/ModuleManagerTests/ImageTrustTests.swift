import Foundation
import ModuleFiles
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// The owner of the file and of its directory, and the observers, decide what is loaded: all
/// before any code of the file runs.
@Suite struct ImageTrustTests {
  let folder = ModuleFolder()
  let manager = ModuleManager(patience: nil)

  private func loadError(_ path: String) async -> ModuleError? {
    await moduleError { try await manager.load(path: path) }
  }

  @Test(arguments: [0o664, 0o646, 0o666] as [mode_t])
  func fileThatOthersMayWriteIsRefused(_ mode: mode_t) async throws {
    let path = await folder.add("open")
    #expect(chmod(path, mode) == 0)
    #expect(
      await loadError(path)?.description
        == "\(path): may be written by others than its owner; see chmod(1): go-w (EPERM)")
    #expect(chmod(path, 0o644) == 0)
    try await manager.load(path: path)
    try await manager.unload("open")
  }

  @Test func directoryThatOthersMayWriteIsRefused() async throws {
    let path = await folder.add("exposed", in: "modules")
    let directory = "\(folder.path)/modules"
    for mode in [0o775, 0o777, 0o757] as [mode_t] {
      #expect(chmod(directory, mode) == 0)
      let error = await loadError(path)
      #expect(error?.errno == EPERM)
      #expect(
        error?.reason
          == "its directory \(directory) may be written by others than its owner; see chmod(1): go-w")
    }
    // Others cannot replace a file in it.
    #expect(chmod(directory, 0o1777) == 0)
    try await manager.load(path: path)
    try await manager.unload("exposed")
  }

  /// Others could put another directory in its place, such as one with an old version.
  @Test func everyDirectoryOfThePathIsChecked() async throws {
    let path = await folder.add("nested", in: "one/two/three")
    for place in ["one", "one/two", "one/two/three"] {
      let directory = "\(folder.path)/\(place)"
      #expect(chmod(directory, 0o777) == 0)
      let error = await loadError(path)
      #expect(
        error?.errno == EPERM
          && error?.reason.hasPrefix("its directory \(directory) may be written by others") == true)
      #expect(chmod(directory, 0o755) == 0)
    }
    try await manager.load(path: path)
    try await manager.unload("nested")
  }

  /// The index says what a name stands for.
  @Test func indexThatOthersMayWriteIsRefused() async throws {
    await folder.add("listed")
    let index = "\(folder.path)/\(ModuleIndex.fileName)"
    try ModuleIndex.scan(folder.path).write()
    try manager.setDirectory(folder.path)
    #expect(chmod(index, 0o666) == 0)
    let reason = "may be written by others than its owner; see chmod(1): go-w"
    #expect(
      await moduleError { try await manager.request("listed") }?.description == "\(index): \(reason) (EPERM)")
    #expect(chmod(index, 0o644) == 0 && chmod(folder.path, 0o777) == 0)
    #expect(
      await moduleError { try await manager.request("listed") }?.description
        == "\(folder.path): \(reason) (EPERM)")
    #expect(await moduleError { try manager.setDirectory(folder.path) }?.errno == EPERM)
    #expect(chmod(folder.path, 0o755) == 0)
    try await manager.request("listed")
    try await manager.unload("listed")
  }

  @Test func fileOfAnotherUserIsRefused() async throws {
    // The superuser alone can give a file away.
    if geteuid() != 0 { return }
    let path = await folder.add("foreign", in: "modules")
    let directory = "\(folder.path)/modules"
    #expect(chown(path, 12345, 0) == 0)
    #expect(
      await loadError(path)?.description
        == "\(path): belongs to user 12345, neither root nor the user of this process (EPERM)")
    #expect(chown(path, 0, 0) == 0 && chown(directory, 12345, 0) == 0)
    let error = await loadError(path)
    #expect(
      error?.errno == EPERM
        && error?.reason.contains("its directory \(directory) belongs to user 12345") == true)
  }

  @Test func linkIsFollowedToWhatIsChecked() async throws {
    let path = await folder.add("target", in: "modules")
    let link = "\(folder.path)/link.so"
    #expect(symlink(path, link) == 0)
    #expect(try await manager.load(path: link).path == path)
    try await manager.unload("target")
    #expect(chmod("\(folder.path)/modules", 0o777) == 0)
    #expect(await loadError(link)?.errno == EPERM)
  }

  @Test func pipeIsNotWaitedFor() async throws {
    let path = "\(folder.path)/pipe.so"
    #expect(mkfifo(path, 0o600) == 0)
    #expect(await loadError(path)?.errno == EINVAL)
  }

  @Test func vetoComesBeforeConstructors() async throws {
    let path = await SampleModules.constructing("vetoed")
    manager.add(ModuleObserver("strict", willLoad: { module, _ in module == "vetoed" ? "not here" : nil }))
    #expect(await loadError(path)?.description == "vetoed: strict refuses it: not here (EPERM)")
    #expect(getenv("CONSTRUCTED_vetoed") == nil && !isMapped(path) && manager.list().isEmpty)
  }

  /// An observer that let a module in is told when the loader refuses it.
  @Test func observersAreToldOfAnImageThatCannotBeMapped() async throws {
    let lines = Lines()
    manager.add(
      ModuleObserver(
        "watching",
        willLoad: { module, _ in
          lines.add("+\(module)")
          return nil
        }, hasGone: { lines.add("-\($0)") }))
    let path = await onThread {
      SampleModules.custom(
        "unbound",
        """
        int missing_function(void);
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { return missing_function(); }
        """, ".init = init")
    }
    #expect(await loadError(path)?.reason == "cannot be mapped: undefined symbol: missing_function")
    #expect(lines.all == ["+unbound", "-unbound"] && manager.list().isEmpty)
  }
}
