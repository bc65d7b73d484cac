import Foundation

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
    figures.isEmpty ? .nan : figures.sorted()[min(max(1, figures.count / 10), figures.count - 1)]
  }

  var median: Double { figures.median }

  var mean: Double { figures.reduce(0, +) / Double(figures.count) }
}

extension Array where Element == Double {
  /// The one in the middle; the upper one of two.
  var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}
