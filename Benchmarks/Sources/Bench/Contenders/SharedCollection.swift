import CPeers

/// Something that several threads use at once: a contender of the experiments about collections.
final class SharedCollection {
  let name: String
  /// Whether threads may write.
  let canChange: Bool
  /// Whether a writer copies it as a whole.
  let isCopied: Bool
  private let make: @Sendable (UInt64) -> any Sendable
  private let run: @Sendable (any Sendable, peer_operations) -> UInt64
  private let destroy: @Sendable (any Sendable) -> Void
  private var collection: (any Sendable)?

  init<Made: AnyObject & Sendable>(
    _ name: String, canChange: Bool = true, isCopied: Bool = false,
    make: @escaping @Sendable (UInt64) -> Made, run: @escaping @Sendable (Made, peer_operations) -> UInt64
  ) {
    self.name = name
    self.canChange = canChange
    self.isCopied = isCopied
    self.make = make
    // Made by `make`.
    self.run = { run(unsafeDowncast($0 as AnyObject, to: Made.self), $1) }
    destroy = { _ in }
  }

  /// Nil if the peer is not installed.
  private init?(_ peer: peer_collection) {
    if peer.make == nil { return nil }
    // Unsafe: a constant of the peers, with functions in it.
    nonisolated(unsafe) let peer = peer
    name = String(cString: peer.name)
    canChange = true
    isCopied = false
    make = { Address(peer.make($0)) }
    run = { collection, operations in
      withUnsafePointer(to: operations) { peer.run(Self.address(collection), $0) }
    }
    destroy = { peer.destroy(Self.address($0)) }
  }

  /// Those that are installed.
  static func peers(_ peers: peer_collection...) -> [SharedCollection] {
    peers.compactMap { SharedCollection($0) }
  }

  private struct Address: @unchecked Sendable {
    // Unchecked: the peers' collections are made for several threads.
    let pointer: UnsafeMutableRawPointer?
    init(_ pointer: UnsafeMutableRawPointer?) { self.pointer = pointer }
  }

  private static func address(_ collection: any Sendable) -> UnsafeMutableRawPointer? {
    (collection as? Address)?.pointer
  }

  /// On a thread of its own: the peers register and unregister the thread with liburcu.
  func prepare(_ entries: UInt64, on machine: Machine) throws {
    let pinned = PinnedThreads(processors: machine.processors)
    let collections: [any Sendable] = try pinned.run(1) { [make] _, _ in make(entries) }
    collection = collections[0]
  }

  func forget(on machine: Machine) throws {
    guard let collection else { return }
    self.collection = nil
    _ = try PinnedThreads(processors: machine.processors).run(1) { [destroy] _, _ in destroy(collection) }
  }

  /// Nanoseconds per operation, of the thread that took longest; not a number when the threads
  /// together have not found what `expected` says for each.
  func time(
    _ operations: peer_operations, _ threads: Int, _ machine: Machine,
    expected: @escaping @Sendable (peer_operations) -> UInt64
  ) throws -> Double {
    guard let collection else { return .nan }
    let results = try PinnedThreads(processors: machine.processors).run(threads) { [run] index, start in
      var own = operations
      own.seed = 0x9E37_79B9 + UInt64(index)
      let wanted = expected(own)
      start.wait()
      let before = peer_wall_nanoseconds()
      let sum = run(collection, own)
      let after = peer_wall_nanoseconds()
      return (time: Double(after - before) / Double(own.count), sum: sum, wanted: wanted)
    }
    let found = results.reduce(0) { $0 &+ $1.sum }
    if found != results.reduce(0, { $0 &+ $1.wanted }) { return .nan }
    return results.map(\.time).max() ?? .nan
  }
}

extension peer_operations {
  /// - Parameter percent: how many operations in a hundred are writes.
  init(entries: UInt64, count: UInt64, percent: UInt64 = 0, first: UInt64 = 0) {
    self.init(
      seed: 0, entries: entries, count: count, write_every: percent == 0 ? 0 : 100 / percent, first: first)
  }

  /// For tables: the sum of what `read` finds at random indices. The loop is inlined with both
  /// closures.
  @inline(__always)
  func sum(_ read: (_ index: UInt64) -> UInt64, write: (_ index: UInt64) -> Void) -> UInt64 {
    var state = seed, sum: UInt64 = 0, left = write_every
    for _ in 0..<count {
      let index = peer_next(&state, entries) + first
      if write_every != 0 {
        left -= 1
        if left == 0 {
          left = write_every
          write(index)
          continue
        }
      }
      sum &+= read(index)
    }
    return sum
  }

  /// How many operations are no writes.
  var reads: UInt64 { write_every == 0 ? count : count - count / write_every }
}

/// Lends a collection to threads.
final class SharedValue<Value: ~Copyable & Sendable>: Sendable {
  let value: Value
  init(_ value: consuming Value) { self.value = value }
}
