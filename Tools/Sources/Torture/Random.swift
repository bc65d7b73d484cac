/// Choices: one generator a thread, so that choosing is no synchronization.
struct Random {
  private var state: UInt64

  /// The same for the same seed and stream; streams of one seed have nothing to do with each other.
  init(seed: UInt64, stream: Int) {
    state = seed &+ UInt64(truncatingIfNeeded: stream) &* 0xda94_2042_e4dd_58b5
    _ = next()
  }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return mix(state)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }
}

/// Every bit of the result depends on every bit of `value`.
@inline(__always)
func mix(_ value: UInt64) -> UInt64 {
  var value = value
  value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
  value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
  return value ^ (value >> 31)
}
