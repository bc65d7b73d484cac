import Foundation
import ModuleManager
import Testing

extension EndToEndTests {
  /// `quiesce schemes`, as scripts read it.
  @Suite struct Schemes {
    private struct Row: Decodable {
      struct Latency: Decodable {
        let p50: Double, p99: Double, max: Double
      }
      let scheme: String, source: String
      let get_put_ns: Double, hook_ns: Double, bare_call_ns: Double
      let unload_us: Latency, grace_period_us: Latency
      let failed_gets: Int, refused_unloads: Int, bytes: Int, lost: Int
      let unloads: Int, left_mapped: Int
      let promises: [String]
    }

    private static func run(_ arguments: [String]) throws -> Child.Outcome {
      let modules = try Built.modules.get()
      return try Child(Built.quiesce, ["schemes", "--module-directory", modules] + arguments).wait()
    }

    @Test func everySchemeIsOneObject() async throws {
      try await onThread {
        let outcome = try Self.run(["--seconds", "0.3", "--format", "json"])
        #expect(outcome.status == 0, "\(outcome.error)")
        let rows = try outcome.output.split(separator: "\n").map {
          try JSONDecoder().decode(Row.self, from: Data($0.utf8))
        }
        #expect(rows.map(\.scheme) == UnloadScheme.all.map(\.name))
        for row in rows {
          #expect(row.source == UnloadScheme.named(row.scheme)?.source)
          #expect(row.promises == UnloadScheme.named(row.scheme)?.promises.map(\.rawValue))
          #expect(row.get_put_ns > 0 && row.hook_ns > 0 && row.bare_call_ns > 0)
          #expect(row.unloads > 0)
          #expect(0 < row.unload_us.p50 && row.unload_us.p50 <= row.unload_us.p99)
          #expect(row.unload_us.p99 <= row.unload_us.max)
          #expect(row.grace_period_us.p50 > 0)
          #expect(row.failed_gets >= 0 && row.refused_unloads >= 0)
          #expect(row.bytes > 0)
          #expect(row.lost == 0)
          #expect(row.left_mapped == 0)
        }
      }
    }

    @Test func textOutputIsATable() async throws {
      try await onThread {
        let outcome = try Self.run(["--seconds", "0.1", "--only", "one-atomic,bigref"])
        #expect(outcome.status == 0, "\(outcome.error)")
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.count == 5)
        #expect(lines.first?.hasPrefix("scheme") == true)
        #expect(lines[1].hasPrefix("one-atomic") && lines[3].hasPrefix("bigref"))
        #expect(lines[2].contains("kernel/module/main.c"))
      }
    }

    @Test(arguments: [
      (["--seconds", "0"], "--seconds"), (["--only", "nosuch"], "--only"), (["--format", "xml"], "--format"),
    ])
    func badOptionsAreNamed(_ arguments: [String], _ option: String) async throws {
      try await onThread {
        let outcome = try Self.run(arguments)
        #expect(outcome.status == 64)
        #expect(outcome.error.contains(option), "\(outcome.error)")
      }
    }
  }
}
