internal import _QuiescenceShims

/// The machine's processors.
package enum Processor {
  /// How many the system may ever bring up: a bound for ``current``.
  package static let count = Int(qs_processor_count())

  /// The one that the calling thread runs on now. It may move before the caller looks.
  package static var current: Int { Int(qs_processor_current()) }
}
