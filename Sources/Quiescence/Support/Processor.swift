internal import _QuiescenceShims

/// The machine's processors.
package enum Processor {
  /// The number of configured processors. No bound for ``current``: see `qs_processor.h`.
  package static let count = Int(qs_processor_count())

  /// The number of the processor that the calling thread is running on: any number. The thread may
  /// move before the caller uses the result.
  package static var current: Int { Int(qs_processor_current()) }
}
