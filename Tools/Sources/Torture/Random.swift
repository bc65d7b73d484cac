/// Random choices. Each thread has its own generator, so that choosing does not synchronize
/// threads.
struct Random {
  private var state: UInt64

  /// The same seed and stream give the same choices. Streams of one seed are independent.
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

/// A hash: every bit of the result depends on every bit of `value`.
@inline(__always)
func mix(_ value: UInt64) -> UInt64 {
  var value = value
  value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
  value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
  return value ^ (value >> 31)
}
