internal import _QuiescenceShims

/// Time as one number.
package enum MonotonicClock {
  /// Nanoseconds since some moment in the past; never 0.
  package static var nanoseconds: UInt64 { qs_clock_nanoseconds() }
}
