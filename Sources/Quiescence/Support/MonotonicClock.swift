internal import _QuiescenceShims

/// The monotonic clock.
package enum MonotonicClock {
  /// Nanoseconds since an unspecified moment in the past; never 0.
  package static var nanoseconds: UInt64 { qs_clock_nanoseconds() }
}
