import Foundation
import Testing

@testable import Traffic
@testable import quiesce

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

    @Test func everyDatagramMeetsOneVersionWhileVersionsReplaceEachOther() async throws {
      struct Summary: Decodable {
        struct Replace: Decodable {
          let replacements: Int, mismarked: Int, datagrams_seen: Int
          let per_second: Double
        }
        let datagrams_sent: Int, datagrams_answered: Int, lost: Int, corrupted: Int, unmapped: Int
        let replace: Replace
      }
      try await onThread {
        let modules = try Built.modules.get()
        let outcome = try Child(
          Built.quiesce,
          ["demo", "--replace", "--seconds", "1", "--format", "json", "--module-directory", modules]
        ).wait()
        #expect(outcome.status == 0, "\(outcome.error)")
        let last = try #require(outcome.output.split(separator: "\n").last)
        let summary = try JSONDecoder().decode(Summary.self, from: Data(last.utf8))
        #expect(summary.datagrams_sent > 0 && summary.datagrams_answered == summary.datagrams_sent)
        #expect(summary.lost == 0 && summary.corrupted == 0)
        #expect(summary.replace.replacements > 0 && summary.replace.per_second > 0)
        #expect(summary.unmapped == summary.replace.replacements)
        #expect(summary.replace.mismarked == 0)
        #expect(summary.replace.datagrams_seen == 2 * summary.datagrams_answered)
        let text = try Child(
          Built.quiesce, ["demo", "--replace", "--seconds", "0.2", "--module-directory", modules]
        ).wait()
        #expect(text.status == 0, "\(text.error)")
        #expect(text.output.contains("marks      0 answers with too few or too many; "))
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

/// What makes the demo's exit status 1.
@Suite struct DemoSummaryTests {
  private func complaints(
    answered: Int = 100, mismarked: Int = 0, seen: Int? = 200, unmapped: Int = 3
  ) -> [String] {
    var traffic = TrafficReport()
    (traffic.sent, traffic.answered, traffic.mismarked) = (100, answered, mismarked)
    var tally = DemoCycles.Tally()
    (tally.cycles, tally.unmapped) = (3, unmapped)
    return DemoSummary(
      seconds: 1, traffic: traffic, kernelDrops: 0, cycles: tally, isReplacing: true, seen: seen
    ).complaints
  }

  @Test func brokenPromiseOfAReplacementIsNamed() {
    #expect(complaints() == [])
    #expect(
      complaints(mismarked: 1) == ["1 datagrams met another number of versions than one on each way"])
    #expect(complaints(seen: 199) == ["the versions have counted 199 datagrams, and 200 have passed"])
    #expect(complaints(answered: 99, seen: 199) == ["1 of 100 datagrams were lost"])
    #expect(complaints(unmapped: 2) == ["1 of 3 images were still mapped after the unload"])
  }
}
