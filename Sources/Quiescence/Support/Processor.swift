internal import _QuiescenceShims

/// The machine's processors.
package enum Processor {
  /// The largest number of processors that the system can have: a bound for ``current``.
  package static let count = Int(qs_processor_count())

  /// The processor that the calling thread is running on. The thread may move before the caller
  /// uses the result.
  package static var current: Int { Int(qs_processor_current()) }
}
