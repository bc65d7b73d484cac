public import NIOCore
public import Quiescence

/// A copy of a box's value for each loop of a group, which the loop renews when the box has a new
/// version.
///
/// For small values that handlers read very often: all handlers of a loop share its copy, and a
/// read that finds the box unchanged touches no memory of another loop but one number of the box.
///
/// A value that is not cheap to copy is better read in place: `box.read`, or `readOnLoop`.
public final class LoopCaches<Value: Sendable, F: Flavor>: Sendable {
  private let caches: [ObjectIdentifier: LoopCache<Value, F>]

  /// Makes a cache for each loop of `group`. Each copies the value at its first read.
  ///
  /// - Complexity: O(loops).
  /// - Threads: any.
  public init(_ box: SharedRCUBox<Value, F>, of group: any EventLoopGroup) {
    var caches: [ObjectIdentifier: LoopCache<Value, F>] = [:]
    for loop in group.makeIterator() { caches[ObjectIdentifier(loop)] = LoopCache(box, on: loop) }
    self.caches = caches
  }

  /// The cache of a loop. Traps for a loop of another group.
  ///
  /// - Complexity: a lookup: do it once for each channel, and keep the cache.
  /// - Threads: any; read the cache on its loop.
  public subscript(loop: any EventLoop) -> LoopCache<Value, F> {
    guard let cache = caches[ObjectIdentifier(loop)] else {
      fatalError("LoopCaches has no cache for \(loop), which is not in its group")
    }
    return cache
  }
}

/// A copy of a box's value, for the handlers of one loop.
public final class LoopCache<Value: Sendable, F: Flavor>: @unchecked Sendable {
  // Unchecked: each access is on the loop, or traps.
  private let box: SharedRCUBox<Value, F>
  private let loop: any EventLoop
  private var cache: SharedRCUBox<Value, F>.Cache?

  /// Makes a cache for one loop, which copies the value at its first read.
  ///
  /// - Threads: any.
  public init(_ box: SharedRCUBox<Value, F>, on loop: any EventLoop) {
    self.box = box
    self.loop = loop
  }

  /// A copy of the current value. Traps off the loop; and under `QSBR` on a loop that does not go
  /// offline before it blocks, as `QSBR.readOnLoop(_:)`.
  ///
  /// - Complexity: a check of the thread, a load and a compare when nothing was published since;
  ///   else a read and a copy.
  public var value: Value {
    loop.preconditionInEventLoop()
    if F.self == QSBR.self && !QSBR.isInside { LoopThread.goOnline() }
    if cache == nil { cache = box.cache() }
    // Set by the line above.
    return cache!.snapshot()
  }
}
