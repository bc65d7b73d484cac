/// Something that is measured, as rows of a table.
protocol Experiment {
  var name: ExperimentName { get }
  /// What to know before reading the figures, a sentence a line.
  var notes: [String] { get }
  /// What this machine cannot show, a sentence each.
  func skipped(on machine: Machine) -> [String]
  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row]
}

/// How much is measured.
struct Scale {
  let rounds: Int
  let isQuick: Bool
}

/// Why there is no figure.
struct MeasurementError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// What a contender took in each round, nanoseconds an operation.
struct Rounds {
  private(set) var figures: [Double] = []

  mutating func add(_ figure: Double) { figures.append(figure) }

  /// Others on the machine only ever add time.
  var best: Double { figures.min() ?? .nan }

  var median: Double { figures.median }

  var mean: Double { figures.reduce(0, +) / Double(figures.count) }
}

extension Array where Element == Double {
  /// The one in the middle; the upper one of two.
  var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}
