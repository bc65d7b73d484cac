/// A published value: readers borrow it without contention, writers replace it.
///
/// ```swift
/// let routes = RCUBox(RoutingTable())
/// routes.read { table in table.lookup(address) }
/// routes.update { table in table.insert(route) }
/// ```
///
/// Readers see one whole version, the old or the new. A version that was replaced is destroyed
/// after a grace period, on the flavor's reclaimer thread. Writers take turns under a lock of the
/// box.
///
/// | to write | when |
/// |---|---|
/// | ``update(_:)`` | the new value comes from the old one, quickly |
/// | `updateRetrying(_:)` | as above, but it takes long, waits, or writes to boxes |
/// | ``publish(_:)`` | the new value is there already |
/// | ``exchange(_:)`` | as above, and the old value is wanted |
/// | ``replace(_:)`` | as `update`, for values that cannot be copied |
/// | ``compareExchange(_:with:)`` | the new value is there, and is right for one version only |
///
/// Where a value is given, the flavor need not be named: it is ``Memb``. A declaration without a
/// value names it, since Swift has no defaults for parameters of types:
///
/// ```swift
/// final class Server: Sendable {
///   let limits = RCUBox(["hops": 8])
///   let names: RCUBox<[String], Memb>
///   let flows: RCUBox<[Int], QSBR> = RCUBox([])
///   init(_ names: [String]) { self.names = RCUBox(names) }
/// }
/// func first(_ names: borrowing RCUBox<[String], some Flavor>) -> String? {
///   names.read { $0.first }
/// }
/// print(first(Server(["a"]).names) ?? "")
/// ```
///
/// A box is 64 bytes, a cache line, and its lock another 64: an update writes to the line that
/// readers load once, where it publishes, and to no line of a neighboring box. Each version is an
/// allocation of its own, 96 bytes larger than the value for the same reason.
///
/// A box lends parts of itself to readers by `map(_:)`, and gives a reader
/// a copy of its own by ``cached(_:)``. Noncopyable, it lies in variables and fields; an array or a
/// dictionary holds ``SharedRCUBox``.
///
/// Source: Documentation/RCU/whatisRCU.rst; liburcu, `urcu/pointer.h`.
public struct RCUBox<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked: the value behind the pointer is Sendable and changes by publication alone.
  /// With the rest a cache line: see ``PublishedPointer``.
  private let alignment = SIMD2<UInt>(0, 0)
  private let padding: (UInt, UInt) = (0, 0)

  /// Destroys the versions that were replaced; nil for the flavor's own reclaimer.
  private let reclaimer: RCUReclaimer?

  @usableFromInline
  let published: PublishedPointer<Value>

  /// Publishes `value` under the flavor `F`.
  ///
  /// - Complexity: one allocation, as for every version, and one for the lock.
  public init(_ value: consuming Value, flavor: F.Type) {
    reclaimer = nil
    published = PublishedPointer(value)
  }

  /// Publishes `value` under the flavor `F` where that is known: `let flows: RCUBox<Flows, QSBR> =
  /// RCUBox(Flows())`.
  ///
  /// - Complexity: one allocation, as for every version, and one for the lock.
  public init(_ value: consuming Value) {
    self.init(value, flavor: F.self)
  }

  /// Publishes `value`; `reclaimer` destroys the versions that were replaced, under its limit and
  /// on its thread.
  ///
  /// Traps when the reclaimer waits for grace periods of another flavor. The box keeps the
  /// reclaimer alive.
  ///
  /// - Complexity: one allocation, as for every version, and one for the lock.
  public init(_ value: consuming Value, flavor: F.Type, reclaimer: RCUReclaimer) {
    if reclaimer.core.gracePeriods !== F.domain { Misuse.otherReclaimer(reclaimer.core.name, "\(F.self)") }
    self.reclaimer = reclaimer
    published = PublishedPointer(value)
  }

  deinit {
    // No reader can load from the box any more, but a section that has loaded may be open.
    protection.retire(published.load())
  }

  /// Lends the current version to `body`, inside one read-side critical section.
  ///
  /// - Complexity: O(1); no allocation, no lock, no reference counting, no call.
  /// - Threads: any; under `QSBR` only online, others trap.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    return try body(published.load().pointee)
  }

  /// The current version, for as long as `section` is open.
  ///
  /// Loading twice in one section may give two versions; each stays valid.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing ReadSection<F>) -> Borrowed<Value> {
    let borrowed = Borrowed(unsafe: UnsafePointer(published.load()))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  var protection: Protection { .flavor(F.self, reclaimer) }
}

extension RCUBox where F == Memb, Value: ~Copyable {
  /// Publishes `value` under the default flavor.
  public init(_ value: consuming Value) {
    self.init(value, flavor: Memb.self)
  }

  /// Publishes `value` under the default flavor; `reclaimer` destroys the versions that were
  /// replaced.
  ///
  /// ```swift
  /// let small = RCUReclaimer(named: "routes", Memb.self, limit: RetireLimit(1000, .wait))
  /// let routes = RCUBox(["a": 1], reclaimer: small)
  /// routes.publish(["a": 2])
  /// small.barrier()
  /// ```
  ///
  /// Traps when the reclaimer waits for grace periods of another flavor.
  public init(_ value: consuming Value, reclaimer: RCUReclaimer) {
    self.init(value, flavor: Memb.self, reclaimer: reclaimer)
  }
}

extension RCUBox where F == QSBR, Value: ~Copyable {
  /// The current version, until `reader` next says that it is quiescent.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow reader)
  public borrowing func load(_ reader: borrowing OnlineReader) -> Borrowed<Value> {
    let borrowed = Borrowed(unsafe: UnsafePointer(published.load()))
    return _overrideLifetime(borrowed, borrowing: reader)
  }
}

extension RCUBox: RCUCell {}
