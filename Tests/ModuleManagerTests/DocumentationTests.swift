import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// The examples in the documentation compile, and the README's module does what it says.
@Suite struct DocumentationTests {
  @Test func examplesOfTheREADMECompile() async throws {
    let examples = try blocks("swift", in: "README.md").filter { !$0.contains(".package(") }
    #expect(examples.count >= 2)
    for example in examples {
      let result = await Compiler.swift(example)
      #expect(result.status == 0, "\(result.output)")
    }
  }

  @Test func examplesOfArticlesCompile() async throws {
    var articles = 0
    let files = FileManager.default.enumerator(
      at: Compiler.root.appending(path: "Sources"), includingPropertiesForKeys: nil)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "md", file.deletingLastPathComponent().pathExtension == "docc" else {
        continue
      }
      articles += 1
      // Several files each; Scripts/tutorials follows them.
      if ["ARoutingTable.md", "APluginHost.md"].contains(file.lastPathComponent) { continue }
      let lines = try String(contentsOf: file, encoding: .utf8)
        .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      for example in blocks("swift", in: lines) {
        let result = await Compiler.swift(example)
        #expect(result.status == 0, "\(file.lastPathComponent): \(result.output)")
      }
    }
    #expect(articles >= 10)
  }

  @Test func moduleOfTheREADMEWorks() async throws {
    let examples = try blocks("c", in: "README.md")
    #expect(examples.count == 1)
    let code = try #require(examples.first)
    let path = Compiler.module(code, in: SampleModules.folder, named: "readme")
    let ingress = HookPoint<Int32, Memb>("ingress", argumentType: "length.1", flavor: Memb.self)
    let manager = ModuleManager()
    manager.provide(ingress)
    try await manager.load(path: path)
    var short: Int32 = 40
    var long: Int32 = 100
    #expect(ingress.dispatch(&short).verdict == .drop)
    #expect(ingress.dispatch(&long).verdict == .accept)
    try await manager.unload("drop_short")
    #expect(!isMapped(path))
  }

  /// Names that an example uses without declaring them.
  static let preambles = [
    "RCUBox.swift": """
    struct RoutingTable: Sendable {
      func lookup(_ address: Int) -> Int? { nil }
      mutating func insert(_ route: Int) {}
    }
    let address = 1, route = 2
    """,
    "RCUBox+Exchange.swift": """
    struct Routes: Sendable { func adding(_ route: Int) -> Routes { self } }
    let routes = RCUBox(Routes()), route = 1
    func retryLater(_ routes: Routes) {}
    """,
    "QSBR.swift": """
    let routes = RCUBox(1, flavor: QSBR.self)
    nonisolated(unsafe) var running = true
    func forward(_ value: Int) { running = false }
    func poll() {}
    """,
    "QSBR+EventLoop.swift": """
    let routes = RCUBox(1, flavor: QSBR.self)
    func forward(_ value: Int) {}
    """,
    "GracePeriod.swift": """
    let buffer = 1
    func reuse(_ buffer: Int) {}
    """,
    "ReadSection.swift": """
    let shards: [SharedRCUBox<Int, Memb>] = [SharedRCUBox(1)]
    func scan(_ shard: borrowing Borrowed<Int>) {}
    """,
    "RCUPointer.swift": """
    struct Node: ~Copyable, Sendable { let next = RCUPointer<Node, Memb>() }
    let head = RCUPointer<Node, Memb>()
    """,
    "HookPoint.swift": """
    struct Packet: Sendable { var length = 0 }
    nonisolated(unsafe) var packet = Packet()
    """,
    "BuiltInModule.swift": """
    let ingress = HookPoint<Int32, Memb>("ingress", argumentType: "length.1", flavor: Memb.self)
    """,
    "ModuleParameter.swift": """
    let ingress = HookPoint<Int, Memb>("ingress", argumentType: "length.1", flavor: Memb.self)
    """,
    "ModuleVerifier.swift": "import Glibc",
    "ModuleManager.swift": """
    let prerouting = HookPoint<Int32, Memb>("prerouting", argumentType: "int.1", flavor: Memb.self)
    """,
  ]

  /// The files whose examples may wait and throw at top level.
  static let asynchronous = [
    "Bigref.swift", "BuiltInModule.swift", "GracePeriod.swift", "KillBatch.swift",
    "ModuleManager+BuiltIn.swift", "ModuleManager+Replace.swift", "ModuleManager.swift",
    "ModuleParameter.swift",
    "ModulePolicy.swift", "ModuleTrace.swift", "SleepableBox.swift", "SleepableDomain.swift",
    "SleepablePointer.swift", "UnloadAttempt.swift", "UnloadRequest.swift", "UnloadScheme.swift",
  ]

  @Test func examplesOfDocumentationCommentsCompile() async throws {
    var seen: Set<String> = []
    let folder = Compiler.root.appending(path: "Sources")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      let name = file.lastPathComponent
      let text = try String(contentsOf: file, encoding: .utf8)
      let comments = text.split(separator: "\n", omittingEmptySubsequences: false).compactMap { line in
        let trimmed = line.drop(while: { $0 == " " })
        return trimmed.hasPrefix("///") ? String(trimmed.dropFirst(3)) : nil
      }
      for example in blocks("swift", in: comments) {
        seen.insert(name)
        let isAsynchronous = Self.asynchronous.contains(name)
        let code = """
          import Bigref
          import ModuleManager
          import Quiescence
          import QuiescentCollections
          \(Self.preambles[name] ?? "")
          func example() \(isAsynchronous ? "async throws" : "") {
          \(isAsynchronous ? example.replacing("try manager", with: "try await manager") : example)
          }
          """
        let result = await Compiler.swift(code)
        #expect(result.status == 0, "\(name): \(result.output)")
      }
    }
    #expect(seen.isSuperset(of: Self.preambles.keys))
    #expect(seen.contains("Bigref.swift"))
  }

  private func blocks(_ language: String, in file: String) throws -> [String] {
    let text = try String(contentsOf: Compiler.root.appending(path: file), encoding: .utf8)
    return blocks(
      language, in: text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
  }

  /// The fenced blocks in one language.
  private func blocks(_ language: String, in lines: [String]) -> [String] {
    var blocks: [String] = []
    var current: [String]?
    for line in lines {
      let trimmed = line.trimmingCharacters(in: .whitespaces)
      if let open = current {
        if trimmed == "```" {
          blocks.append(open.joined(separator: "\n"))
          current = nil
        } else {
          current = open + [line]
        }
      } else if trimmed == "```\(language)" {
        current = []
      }
    }
    return blocks
  }
}
