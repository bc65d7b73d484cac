// A module in Embedded Swift: a token bucket for each address that sends requests. Copy it, and
// build it with build.sh.
import ModuleKit
import QuiescePacket
import Synchronization

@_cdecl("module_start")
func start() -> CInt {
  Module.start { () throws(Errno) in
    let buckets = Buckets()
    // For every datagram, by several threads at once.
    try Module.register(quiesce_packet.self, typed: "quiesce.packet.1", on: "prerouting") { packet in
      if packet.direction != QUIESCE_TO_SERVER.rawValue { return .accept }
      return buckets.admits(key(of: packet.source)) ? .accept : .drop
    }
  }
}

@_cdecl("module_stop")
func stop() -> CInt { 0 }

/// The address without the port, never zero.
private func key(of source: sockaddr_storage) -> UInt64 {
  withUnsafeBytes(of: source) { bytes in
    // struct sockaddr_in: the address is at 4; struct sockaddr_in6: at 8.
    if source.ss_family == sa_family_t(AF_INET) {
      return 1 << 32 | UInt64(bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    }
    let high = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    let low = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
    return mixed(high ^ mixed(low)) | 1 << 63
  }
}

/// MurmurHash3's finalizer.
private func mixed(_ value: UInt64) -> UInt64 {
  var value = value
  value = (value ^ value >> 33) &* 0xff51_afd7_ed55_8ccd
  value = (value ^ value >> 33) &* 0xc4ce_b9fe_1a85_ec53
  return value ^ value >> 33
}

/// The buckets of all addresses: a fixed number, so that no traffic makes the module grow.
private final class Buckets {
  /// A bucket is one number: when it will be full again. A datagram takes a token, which moves that
  /// by the time in which one comes back. Source: the generic cell rate algorithm, ITU-T I.371.
  private struct Bucket: ~Copyable {
    let owner = Atomic<UInt64>(0)
    let fullAt = Atomic<UInt64>(0)
  }

  private static let count = 4096
  private static let tries = 4
  private let buckets: UnsafeMutablePointer<Bucket>

  init() {
    buckets = .allocate(capacity: Self.count + Self.tries)
    for number in 0..<Self.count + Self.tries { (buckets + number).initialize(to: Bucket()) }
  }

  deinit {
    buckets.deinitialize(count: Self.count + Self.tries)
    buckets.deallocate()
  }

  func admits(_ owner: UInt64) -> Bool {
    let now = module_kit_now()
    let bucket = bucket(of: owner, now)
    let interval = 1_000_000_000 / UInt64(rate_value())
    let limit = now + interval * UInt64(burst_value() - 1)
    var fullAt = bucket.pointee.fullAt.load(ordering: .relaxed)
    while true {
      // Later than any datagram can move it: a parameter has been changed. It is filled again with
      // the new rate, from one token on.
      let start = fullAt > limit + interval ? limit : max(fullAt, now)
      if start > limit { return false }
      // A store would lose tokens that other threads take meanwhile:
      //
      // 1. thread A: loads `fullAt`
      // 2. thread B: loads the same, stores one token more
      // 3. thread A: stores one token more; two datagrams have taken one token.
      let (exchanged, original) = bucket.pointee.fullAt.compareExchange(
        expected: fullAt, desired: start + interval, ordering: .relaxed)
      if exchanged { return true }
      fullAt = original
    }
  }

  /// The owner's bucket; or one that is full, which is as good as a new one. When 4 other addresses
  /// with the same place have none that is full, the first of these is shared.
  ///
  /// A datagram of the previous owner may still take a token from a bucket that has a new owner:
  /// the new owner's limit is reached one datagram early.
  private func bucket(of owner: UInt64, _ now: UInt64) -> UnsafeMutablePointer<Bucket> {
    let first = buckets + Int(mixed(owner) % UInt64(Self.count))
    for number in 0..<Self.tries where (first + number).pointee.owner.load(ordering: .relaxed) == owner {
      return first + number
    }
    for number in 0..<Self.tries {
      let bucket = first + number
      let other = bucket.pointee.owner.load(ordering: .relaxed)
      if bucket.pointee.fullAt.load(ordering: .relaxed) > now { continue }
      let (exchanged, original) = bucket.pointee.owner.compareExchange(
        expected: other, desired: owner, ordering: .relaxed)
      // Another thread may have taken it for the same owner.
      if exchanged || original == owner { return bucket }
    }
    return first
  }
}
