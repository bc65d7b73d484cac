import Foundation
import Testing

extension EndToEndTests {
  /// The main job, for a second: what it counts, and the shape in which others read it.
  @Suite struct Demo {
    private struct Summary: Decodable {
      struct Unload: Decodable {
        let p50: Int, p99: Int, max: Int
      }
      let event: String
      let datagrams_sent: Int, datagrams_answered: Int, lost: Int, corrupted: Int
      let module_calls: Int, cycles: Int, unmapped: Int
      let unload_us: Unload
    }

    @Test func noDatagramIsLostWhileModulesComeAndGo() async throws {
      try await onThread {
        let modules = try Built.modules.get()
        let demo = try Child(
          Built.quiesce, ["demo", "--seconds", "1", "--format", "json", "--module-directory", modules])
        let outcome = try demo.wait()
        #expect(outcome.status == 0, "\(outcome.error)")
        let lines = outcome.output.split(separator: "\n")
        for line in lines {
          #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
        }
        let last = try #require(lines.last)
        let summary = try JSONDecoder().decode(Summary.self, from: Data(last.utf8))
        #expect(summary.event == "summary")
        #expect(summary.datagrams_sent > 0)
        #expect(summary.datagrams_answered == summary.datagrams_sent)
        #expect(summary.lost == 0)
        #expect(summary.corrupted == 0)
        #expect(summary.cycles > 0)
        #expect(summary.unmapped == summary.cycles)
        #expect(summary.module_calls >= summary.cycles)
        #expect(0 < summary.unload_us.p50)
        #expect(summary.unload_us.p50 <= summary.unload_us.p99)
        #expect(summary.unload_us.p99 <= summary.unload_us.max)
      }
    }

    @Test func textIsTheDefaultFormat() async throws {
      try await onThread {
        let modules = try Built.modules.get()
        let outcome = try Child(Built.quiesce, ["demo", "--seconds", "0.2", "--module-directory", modules])
          .wait()
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.output.contains(", 0 lost, 0 corrupted"))
        #expect(outcome.output.contains("every image gone"))
        #expect(!outcome.output.contains("\u{1b}"), "no live line where there is no terminal")
      }
    }

    @Test func missingSampleModulesAreNamed() async throws {
      try await onThread {
        let empty = try TemporaryDirectory()
        let outcome = try Child(Built.quiesce, ["demo", "--seconds", "1", "--module-directory", empty.path])
          .wait()
        #expect(outcome.status == 1)
        #expect(outcome.error.contains("(ENOENT)"))
        #expect(outcome.error.split(separator: "\n").count == 1, "\(outcome.error)")
      }
    }
  }
}
