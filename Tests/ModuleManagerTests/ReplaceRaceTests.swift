import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Replacements while other threads call, open, load, unload and replace.
@Suite(.exclusive, .timeLimit(.minutes(20))) struct ReplaceRaceTests {
  /// How one version comes in the place of another; all but the first are mutants.
  enum Way { case replace, unloadAndLoad }

  @Test(arguments: UnloadScheme.all)
  func everyCallMeetsOneVersion(_ scheme: UnloadScheme) async throws {
    let (calls, wrong) = try await Self.run(scheme, .replace) { replacements, _ in replacements >= 100 }
    #expect(wrong == 0 && calls > 0)
  }

  /// The mutant is caught by the same calls: it unlinks the hooks of one version before it links
  /// those of the other.
  @Test func unloadBeforeTheLoadIsCaught() async throws {
    let (_, wrong) = try await Self.run(.bigref, .unloadAndLoad) { _, wrong in wrong > 0 }
    #expect(wrong > 0)
  }

  /// One thread changes versions; two call, between hooks of two other modules.
  private static func run(
    _ scheme: UnloadScheme, _ way: Way,
    until isOver: @escaping @Sendable (_ replacements: Int, _ wrong: Int) -> Bool
  ) async throws -> (calls: Int, wrong: Int) {
    let scene = Versions(scheme)
    let manager = scene.manager
    let paths = [Versions.module("switched", 2), Versions.module("switched", 3)]
    try await manager.load(path: Versions.module("switched-before", 1))
    try await manager.load(path: paths[0])
    try await manager.load(path: Versions.module("switched-after", 4))
    let (calls, wrong, turns) = (Counter(), Counter(), Counter())
    await onThreads(3) { index in
      if index > 0 {
        while !isOver(turns.value, wrong.value) {
          let seen = scene.call()
          if seen != 124 && seen != 134 { wrong.add(1) }
          calls.add(1)
        }
        return
      }
      while !isOver(turns.value, wrong.value) {
        let path = paths[(turns.value + 1) % 2]
        do {
          switch way {
          case .replace: if try !manager.replace("switched", with: path).isUnmapped { wrong.add(1) }
          case .unloadAndLoad:
            try manager.unload("switched", ifBusy: .wait)
            try manager.load(path: path)
          }
        } catch { wrong.add(1) }
        turns.add(1)
      }
    }
    for name in ["switched", "switched-before", "switched-after"] { try await manager.unload(name) }
    #expect(!paths.contains(where: isMapped))
    return (calls.value, wrong.value)
  }

  /// A name is always there, at one version or the other.
  @Test func everyOpenFindsAVersion() async throws {
    let scene = Versions()
    let paths = [Versions.module("opened", 1), Versions.module("opened", 2)]
    try await scene.manager.load(path: paths[0])
    let (opens, wrong, turns) = (Counter(), Counter(), Counter())
    await onThreads(3) { index in
      if index > 0 {
        while turns.value < 200 {
          do {
            let text = try scene.read("opened-object")
            if text != "1" && text != "2" { wrong.add(1) }
          } catch { wrong.add(1) }
          opens.add(1)
        }
        return
      }
      while turns.value < 200 {
        do { try scene.manager.replace("opened", with: paths[(turns.value + 1) % 2]) } catch { wrong.add(1) }
        turns.add(1)
      }
    }
    #expect(wrong.value == 0 && opens.value > 0)
    await scene.whenListed(1, "opened")
    try await scene.manager.unload("opened")
    #expect(!paths.contains(where: isMapped))
  }

  /// Whatever comes first: each request ends, each error is one of those that its documentation
  /// names, and nothing is left.
  @Test(arguments: [.bigref, .oneAtomic, .startStopExit] as [UnloadScheme])
  func requestsForOneNameTakeTurns(_ scheme: UnloadScheme) async throws {
    let scene = Versions(scheme, isPatient: false)
    let manager = scene.manager
    let paths = [
      Versions.module("disputed", 1), Versions.module("disputed", 2),
      Versions.module("disputed", 3, initialize: "return -ENODEV;"),
      Versions.module("disputed", 4, initialize: "usleep(100);"),
    ]
    let (replaced, unexpected) = (Counter(), Lines())
    let isOver: @Sendable () -> Bool = { replaced.value >= 150 }
    await onThreads(6) { index in
      var turn = index
      while !isOver() {
        turn += 1
        do throws(ModuleError) {
          switch index {
          case 0: try manager.load(path: paths[turn % 2])
          case 1:
            try manager.unload("disputed", ifBusy: turn % 3 == 0 ? .whenIdle : .wait, within: .seconds(1))
          case 2, 3:
            try manager.replace(
              "disputed", with: paths[turn % 4], within: turn % 5 == 0 ? .microseconds(300) : nil)
            replaced.add(1)
          case 4:
            let object = try manager.open("disputed-object", holder: "opener")
            object.close()
          default:
            let seen = scene.call()
            if ![0, 1, 2, 4].contains(seen) { unexpected.add("seen: \(seen)") }
          }
        } catch {
          let expected: [Int32] =
            switch index {
            case 0: [EEXIST]
            case 1: [ENOENT, EBUSY, ETIMEDOUT]
            case 2, 3: [ENOENT, ENODEV, ETIMEDOUT, EBUSY, EEXIST]
            default: [ENOENT]
            }
          if !expected.contains(error.errno) { unexpected.add("\(index): \(error)") }
        }
      }
    }
    #expect(unexpected.all == [])
    while !manager.list().isEmpty {
      _ = await moduleError { try await manager.unload("disputed", ifBusy: .wait) }
      await Task.yield()
    }
    #expect(scene.call() == 0 && manager.objects().isEmpty)
    #expect(!paths.contains(where: isMapped))
  }

  /// Mappings and descriptors of this process, after 100 replacements and after 1,000.
  @Test func replacementsLeaveNothingBehind() async throws {
    let paths = await onThread { [Versions.module("flat", 1), Versions.module("flat", 2)] }
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [first = paths[0] as String, second = paths[1] as String] in
      let scene = Versions()
      try await scene.manager.load(path: first)
      var early: [Int] = []
      for cycle in 1...1_000 {
        let replacement = try await scene.manager.replace("flat", with: cycle % 2 == 0 ? first : second)
        if !replacement.isUnmapped { fatalError("not unmapped: \(replacement.unload)") }
        if cycle == 100 { early = try ProcessUsage.mappingsAndDescriptors() }
      }
      let late = try ProcessUsage.mappingsAndDescriptors()
      if zip(late, early).contains(where: >) {
        FileHandle.standardError.write(Data("\(early), then \(late)\n".utf8))
      }
    }
    #expect(result?.standardErrorContent == [], "\(result.errorOutput)")
  }
}
