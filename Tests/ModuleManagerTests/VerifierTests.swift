import Foundation
import ModuleFiles
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// A verifier decides by the content of a file, before anything interprets or maps it.
@Suite struct VerifierTests {
  let folder = ModuleFolder()
  // However slow the machine is, a load is answered when the verifiers have returned.
  let manager = ModuleManager(patience: nil)

  private func loadError(_ path: String) async -> ModuleError? {
    await moduleError { try await manager.load(path: path) }
  }

  @Test func verifierSeesWhatIsMapped() async throws {
    let path = await SampleModules.constructing("verified")
    let file = Array(try Data(contentsOf: URL(filePath: path)))
    let isTrusted = Shared(Locked(false))
    manager.require(
      ModuleVerifier("signatures") { content, seen in
        if seen != path || !content.withUnsafeBytes({ $0.elementsEqual(file) }) {
          return .init("is another file", errno: EBADMSG)
        }
        return isTrusted.value.withLock { $0 } ? nil : .init("has no signature", errno: EKEYREJECTED)
      })
    let error = await loadError(path)
    #expect(error?.description == "\(path): signatures refuses it: has no signature (EKEYREJECTED)")
    #expect(error?.module == path && error?.errno == EKEYREJECTED)
    #expect(getenv("CONSTRUCTED_verified") == nil && !isMapped(path) && manager.list().isEmpty)
    isTrusted.value.withLock { $0 = true }
    try await manager.load(path: path)
    #expect(getenv("CONSTRUCTED_verified") != nil)
    try await manager.unload("verified")
  }

  /// What is not an ELF file is refused by the verifier, and not by the inspection.
  @Test func verifierComesBeforeTheInspection() async throws {
    try folder.write("text.so", "no image")
    let path = "\(folder.path)/text.so"
    #expect(await loadError(path)?.errno == ENOEXEC)
    manager.require(
      ModuleVerifier("keys") { content, _ in .init("\(content.byteCount) bytes by no key", errno: ENOKEY) })
    #expect(await loadError(path)?.description == "\(path): keys refuses it: 8 bytes by no key (ENOKEY)")
    try folder.write("empty.so", "")
    #expect(await loadError("\(folder.path)/empty.so")?.reason == "keys refuses it: 0 bytes by no key")
  }

  @Test func everyVerifierIsAskedUntilOneRefuses() async throws {
    let asked = Lines()
    for (name, refuses) in [("one", false), ("two", true), ("three", false)] {
      manager.require(
        ModuleVerifier(name) { _, _ in
          asked.add(name)
          return refuses ? .init("no", errno: EACCES) : nil
        })
    }
    #expect(manager.requiredVerifiers == ["one", "two", "three"])
    let path = await folder.add("asked")
    #expect(await loadError(path)?.description == "\(path): two refuses it: no (EACCES)")
    #expect(asked.all == ["one", "two"])
  }

  /// By path, by name, as a dependency, in place of another version, and after it was loaded
  /// without a verifier.
  @Test func everyWayToLoadAnImageIsVerified() async throws {
    await folder.add("base")
    let path = await folder.add("top", #"QUIESCENT_DEPENDS("base");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("base")
    manager.require(
      ModuleVerifier("strict") { _, path in
        path.hasSuffix("/base.so") ? .init("not this one", errno: EKEYREJECTED) : nil
      })
    // It stays, and serves what needs it.
    #expect(manager.list().map(\.name) == ["base"])
    try await manager.load(path: path)
    try await manager.unload("top")
    let replacement = await moduleError { try await manager.replace("base", with: "\(folder.path)/base.so") }
    #expect(replacement?.errno == EKEYREJECTED && manager.list().map(\.state) == [.live])
    try await manager.unload("base")
    for way in ["path", "name", "dependency"] {
      let error = await moduleError {
        switch way {
        case "path": _ = try await manager.load(path: "\(folder.path)/base.so")
        case "name": _ = try await manager.request("base")
        default: _ = try await manager.request("top")
        }
      }
      #expect(error?.errno == EKEYREJECTED, "\(way): \(String(describing: error))")
    }
    #expect(manager.list().isEmpty)
    // It is a part of the host.
    try await manager.load(BuiltInModule("inside") { _ in 0 })
    try await manager.unload("inside")
  }

  /// Required while a load is inside an observer, or inside another verifier.
  @Test(arguments: [false, true])
  func loadInProgressIsVerifiedByALaterVerifier(_ isInsideVerifier: Bool) async throws {
    let (path, manager) = (await SampleModules.constructing("overtaken\(isInsideVerifier)"), manager)
    let isFirst = Counter()
    let late = ModuleVerifier("late") { _, _ in .init("too early", errno: EKEYREJECTED) }
    let lines = Lines()
    @Sendable func requireOnce() {
      if isFirst.value == 0 { manager.require(late) }
      isFirst.add(1)
    }
    manager.add(
      ModuleObserver(
        "slow",
        willLoad: { module, _ in
          lines.add("+\(module)")
          requireOnce()
          return nil
        }, hasGone: { lines.add("-\($0)") }))
    if isInsideVerifier {
      manager.require(
        ModuleVerifier("first") { _, _ in
          requireOnce()
          return nil
        })
    }
    #expect(await loadError(path)?.reason == "late refuses it: too early")
    #expect(getenv("CONSTRUCTED_overtaken\(isInsideVerifier)") == nil && manager.list().isEmpty)
    let name = "overtaken\(isInsideVerifier)"
    #expect(lines.all == (isInsideVerifier ? [] : ["+\(name)", "-\(name)"]))
  }

  /// A new version is verified as well, and one that a later verifier has not seen is not mapped.
  @Test func replacementIsVerified() async throws {
    let (path, manager) = (await folder.add("version"), manager)
    try await manager.load(path: path)
    let isLate = Shared(Locked(false))
    let strict = ModuleVerifier("strict") { _, _ in .init("not this one", errno: EKEYREJECTED) }
    manager.add(
      ModuleObserver(
        "slow",
        willLoad: { _, _ in
          if !isLate.value.withLock({ $0 }) { manager.require(strict) }
          isLate.value.withLock { $0 = true }
          return nil
        }))
    let late = await moduleError { try await manager.replace("version", with: path) }
    #expect(late?.errno == EAGAIN && late?.module == path)
    let refused = await moduleError { try await manager.replace("version", with: path) }
    #expect(refused?.description == "\(path): strict refuses it: not this one (EKEYREJECTED)")
    #expect(manager.list().map(\.name) == ["version"] && manager.list().map(\.state) == [.live])
    try await manager.unload("version")
  }

  /// While the observers are asked.
  @Test func loadingIsForbiddenUntilTheImageIsMapped() async throws {
    let (path, manager) = (await SampleModules.constructing("forbidden"), manager)
    manager.add(
      ModuleObserver(
        "slow",
        willLoad: { _, _ in
          manager.forbidLoading()
          return nil
        }))
    #expect(await loadError(path)?.reason == "loading modules has been forbidden for good")
    #expect(getenv("CONSTRUCTED_forbidden") == nil && !isMapped(path) && manager.list().isEmpty)
  }

  @Test func loadingIsForbiddenInEveryManagerOfTheProcess() async throws {
    let path = await folder.add("late")
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = path as String] in
      let manager = ModuleManager(patience: nil)
      try await manager.load(path: path)
      ModuleManager.forbidLoading()
      try await manager.unload("late")
      for manager in [manager, ModuleManager(patience: nil)] {
        precondition(manager.isLoadingForbidden)
        let error = await moduleError { try await manager.load(path: path) }
        precondition(error?.errno == EPERM, "\(String(describing: error))")
      }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  @Test func refusalWithoutAnErrorNumberTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = ModuleVerifier.Refusal("no", errno: 0)
    }
    #expect(
      result.errorOutput.contains("ModuleVerifier.Refusal with errno 0: an error number is positive"))
  }
}
