import Foundation

/// An experiment, whose figures are rows of a table.
protocol Experiment {
  var name: ExperimentName { get }
  /// What to know before reading the figures, one line each.
  var notes: [String] { get }
  /// Whether the project promises any of its figures.
  var hasPromises: Bool { get }
  /// What this machine cannot show, one sentence each.
  func skipped(on machine: Machine) -> [String]
  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row]
}

extension Experiment {
  var hasPromises: Bool { false }

  func skipped(on machine: Machine) -> [String] { [] }
}

/// How much to measure.
struct Scale {
  let rounds: Int
  let isQuick: Bool
  /// Only the figures that the project promises, and what they are compared with.
  let promisedOnly: Bool

  /// For measurements that take longer and have no promised figure.
  var fewRounds: Int { min(rounds, isQuick ? 2 : 5) }
}

/// Why a figure cannot be measured.
struct MeasurementError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }

  static func pinning(_ error: Int32) -> Self {
    Self("cannot keep a thread on one processor: \(String(cString: strerror(error)))")
  }
}

/// The figures of a contender's rounds, in nanoseconds per operation.
struct Rounds {
  private(set) var figures: [Double] = []

  mutating func add(_ figure: Double) { figures.append(figure) }

  /// The second best round, or the best tenth percentile of many. Other processes only add time.
  /// But the thread clock of a virtual machine sometimes loses time, when the host corrects stolen
  /// time that it had reported; the very best round could be such a one.
  var best: Double {
    if figures.isEmpty { return .nan }
    return figures.sorted()[figures.count < 3 ? 0 : max(1, figures.count / 10)]
  }

  var median: Double { figures.median }

  /// By the sum of best and median: at some places a loop is fast in a few rounds only, which is
  /// not a fair figure.
  func isFaster(than other: Rounds) -> Bool { best + median < other.best + other.median }

  var mean: Double { figures.reduce(0, +) / Double(figures.count) }
}

extension Array where Element == Double {
  /// The middle one; the upper one of two.
  var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}
