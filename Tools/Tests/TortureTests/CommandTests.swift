import Foundation
import Testing
import Torture

/// The program as users and scripts call it. One test at a time, because each uses every processor.
@Suite(.serialized) struct CommandTests {
  @Test(arguments: FlavorName.allCases)
  func correctFlavorHasNoFailures(in flavor: FlavorName) async throws {
    let outcome = try await TortureChild.run(
      "--flavor", flavor.rawValue, "--seconds", "2", "--seed", "1", "--format", "json")
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
    let summary = try outcome.summary()
    #expect(summary.event == "summary")
    #expect(summary.flavor == flavor)
    #expect(summary.seed == 1)
    #expect(summary.failures == 0)
    #expect(summary.caught.isEmpty)
    #expect(summary.vacuous.isEmpty)
    #expect(summary.gracePeriods > 0)
    #expect(summary.ages.count == 11)
    #expect(summary.ages[0] > 0)
    #expect(summary.ages[1] > 0)
    #expect(summary.ages[2...].allSatisfy { $0 == 0 })
    #expect(summary.reads > 0)
    #expect(summary.callbacksRun == summary.callbacksRetired)
    #expect(summary.waits.values.allSatisfy { $0 > 0 })
    #expect(summary.threads > 0)
    #expect(summary.floods > 0)
    #expect(summary.forks > 0)
    #expect(summary.verdict == .passed)
  }

  @Test func everyLineIsAJSONObject() async throws {
    let outcome = try await TortureChild.run("--seconds", "1.5", "--format", "json")
    struct Line: Decodable {
      let event: String
      let flavor: FlavorName
    }
    let events = try outcome.lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)).event }
    #expect(events == ["started", "progress", "summary"])
  }

  @Test func allFlavorsRunInTurn() async throws {
    let outcome = try await TortureChild.run("--flavor", "all", "--seconds", "1", "--format", "json")
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
    let summaries = outcome.lines.filter { $0.contains(#""event":"summary""#) }
    let flavors = try summaries.map {
      try JSONDecoder().decode(TortureSummary.self, from: Data($0.utf8)).flavor
    }
    #expect(flavors == FlavorName.allCases)
  }

  @Test func defaultFormatIsText() async throws {
    let outcome = try await TortureChild.run("--seconds", "1")
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
    #expect(outcome.output.contains("memb: nothing failed in"))
    #expect(outcome.output.contains("age of what was read"))
    #expect(!outcome.output.contains("\u{1b}"), "no live line where there is no terminal")
  }

  @Test func phasesCanBeSelected() async throws {
    let outcome = try await TortureChild.run(
      "--seconds", "1", "--format", "json", "--without", "fork", "--without", "flood", "--without", "churn",
      "--without", "stutter", "--without", "shuffle")
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
    let summary = try outcome.summary()
    #expect(summary.forks + summary.floods + summary.threads + summary.stutters + summary.moves == 0)
  }

  @Test func interruptEndsTheRunWithASummary() async throws {
    let child = try TortureChild(["--seconds", "600", "--format", "json"])
    while !child.output.contains("progress") { try await Task.sleep(for: .milliseconds(5)) }
    child.interrupt()
    let outcome = await child.outcome()
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
    let summary = try outcome.summary()
    #expect(summary.isInterrupted)
    #expect(summary.seconds < 600)
  }

  @Test func runThatDidTooLittleFails() async throws {
    let outcome = try await TortureChild.run("--seconds", "0.01", "--format", "json")
    #expect(outcome.status == 2)
    let summary = try outcome.summary()
    #expect(summary.failures == 0)
    #expect(!summary.vacuous.isEmpty)
  }

  @Test(arguments: [
    (["--seconds", "0"], "--seconds"), (["--seconds", "nan"], "--seconds"),
    (["--readers", "0"], "--readers"),
    (["--writers", "1000"], "--writers"), (["--fake-writers=-1"], "--fake-writers"),
    (["--flavor", "signal"], "--flavor"), (["--break", "nothing"], "--break"),
    (["--format", "xml"], "--format"),
    (["--without", "readers"], "--without"), (["--seed", "x"], "--seed"),
  ])
  func badOptionsAreNamed(_ arguments: [String], _ option: String) async throws {
    let outcome = try await TortureChild(arguments).outcome()
    #expect(outcome.status == 64)
    #expect(outcome.output.isEmpty)
    #expect(outcome.error.contains(option), "\(outcome.error)")
  }
}
