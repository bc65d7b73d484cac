import Foundation

/// Something that is measured, as rows of a table.
protocol Experiment {
  var name: ExperimentName { get }
  /// What to know before reading the figures, a sentence a line.
  var notes: [String] { get }
  /// Whether any of its figures is promised.
  var hasPromises: Bool { get }
  /// What this machine cannot show, a sentence each.
  func skipped(on machine: Machine) -> [String]
  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row]
}

extension Experiment {
  var hasPromises: Bool { false }

  func skipped(on machine: Machine) -> [String] { [] }
}

/// How much is measured.
struct Scale {
  let rounds: Int
  let isQuick: Bool
  /// Only the figures that the project promises, and what they are compared with.
  let promisedOnly: Bool

  /// For what takes longer, and is judged by nobody.
  var fewRounds: Int { min(rounds, isQuick ? 2 : 5) }
}

/// Why there is no figure.
struct MeasurementError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }

  static func pinning(_ error: Int32) -> Self {
    Self("cannot keep a thread on one processor: \(String(cString: strerror(error)))")
  }
}

/// What a contender took in each round, nanoseconds an operation.
struct Rounds {
  private(set) var figures: [Double] = []

  mutating func add(_ figure: Double) { figures.append(figure) }

  /// The best but one, or but a tenth of many. Others on the machine add time; but the thread clock of a virtual
  /// machine also loses some now and then, when the host takes back time that it had reported as stolen, and the
  /// very best round would be such a one.
  var best: Double {
    if figures.isEmpty { return .nan }
    return figures.sorted()[figures.count < 3 ? 0 : max(1, figures.count / 10)]
  }

  var median: Double { figures.median }

  /// By best and median together: at some places a loop is fast now and then, which is nothing to compare with.
  func isFaster(than other: Rounds) -> Bool { best + median < other.best + other.median }

  var mean: Double { figures.reduce(0, +) / Double(figures.count) }
}

extension Array where Element == Double {
  /// The one in the middle; the upper one of two.
  var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}
