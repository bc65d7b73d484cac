public import Quiescence

/// A place in a subsystem where modules hook in: an ordered array of functions, called under RCU.
///
/// ```swift
/// let prerouting = HookPoint<Packet, Memb>(
///   "prerouting", argumentType: "packet.1", flavor: Memb.self)
/// let hook = prerouting.register { packet in packet.length > 1500 ? .drop : .accept }
/// let result = prerouting.dispatch(&packet)
/// hook.unregister()
/// ```
///
/// A round of calls is one read-side critical section, and nothing is counted. A hook that was
/// unregistered may still be running until the next grace period of `F` ends, but not after it.
///
/// Source: Linux net/netfilter/core.c; Keith Owens, 9 July 2002, for why calls need no count.
public final class HookPoint<Argument: ~Copyable, F: Flavor>: Sendable {
  /// The name by which modules find it.
  public let name: String
  /// Names the layout of `Argument`. A C module that expects another layout is refused.
  public let argumentType: String

  @usableFromInline
  let table: RCUBox<HookTable, F>
  private let hooks = Locked(Hooks())

  /// Creates a hook point without hooks.
  public init(_ name: String, argumentType: String, flavor: F.Type) {
    self.name = name
    self.argumentType = argumentType
    table = RCUBox(HookTable([]), flavor: flavor)
  }

  /// Passes `argument` through the hooks, lowest priority first, until one does not accept it.
  ///
  /// - Complexity: one section of `F`, and one indirect call a hook. No lock, no allocation, no
  ///   count.
  /// - Threads: any; under `QSBR` only online.
  @inlinable @inline(__always)
  public func dispatch(_ argument: inout Argument) -> HookResult {
    table.read { hooks in hooks.call(&argument) }
  }

  /// Registers a Swift hook. Calls start at once.
  ///
  /// - Complexity: O(hooks), a lock and a few allocations. Does not wait for readers.
  /// - Threads: any. Hooks of equal priority are called in the order of registration.
  public func register(
    priority: Int = 0, _ body: @escaping @Sendable (inout Argument) -> Verdict
  ) -> HookRegistration {
    let closure = Self.closure(body)
    let id = link(closure.function, closure: closure, gate: nil, priority: priority, as: nil)
    return HookRegistration { [self] in _ = unlink(id) }
  }

  static func closure(_ body: @escaping @Sendable (inout Argument) -> Verdict) -> HookClosure {
    HookClosure { raw in
      // `dispatch` passes the address of an Argument.
      body(&raw.assumingMemoryBound(to: Argument.self).pointee).rawValue
    }
  }

  private struct Hooks {
    var entries: [HookEntry] = []
    var lastID: UInt64 = 0
  }
}

extension HookPoint where F == QSBR, Argument: ~Copyable {
  /// Passes `argument` through the hooks while `reader` is online.
  ///
  /// - Complexity: one load, and one indirect call a hook.
  @inlinable @inline(__always)
  public func dispatch(_ argument: inout Argument, in reader: borrowing OnlineReader) -> HookResult {
    table.load(reader).value.call(&argument)
  }
}

/// A registered hook, which can be unregistered.
public struct HookRegistration: Sendable {
  private let remove: @Sendable () -> Void

  init(_ remove: @escaping @Sendable () -> Void) {
    self.remove = remove
  }

  /// Unregisters the hook. No round that starts afterwards calls it. A round that has started
  /// before may still call it, until a grace period has passed. A second call has no effect.
  ///
  /// - Complexity: O(hooks); does not wait for readers.
  public func unregister() { remove() }
}

/// A hook point without its argument and flavor types: the manager links modules to it.
package protocol AnyHookPoint: AnyObject, Sendable {
  var name: String { get }
  var argumentType: String { get }
  var flavor: any Flavor.Type { get }
  /// Adds a hook and returns its id on this point. With the id that it had before, it comes back to
  /// the place that it had among those of its priority. The point keeps `closure` and `gate` until
  /// the hook is removed and no round can be inside them any more.
  func link(
    _ function: HookFunction, closure: HookClosure?, gate: HookGate?, priority: Int, as id: UInt64?
  ) -> UInt64
  /// Removes a hook. Returns false if it was removed before.
  @discardableResult func unlink(_ id: UInt64) -> Bool
}

extension HookPoint: AnyHookPoint where Argument: ~Copyable {
  package var flavor: any Flavor.Type { F.self }

  package func link(
    _ function: HookFunction, closure: HookClosure?, gate: HookGate?, priority: Int, as id: UInt64?
  ) -> UInt64 {
    hooks.withLock { hooks in
      if id == nil { hooks.lastID += 1 }
      let entry = HookEntry(
        function: function, closure: closure, gate: gate, priority: priority, id: id ?? hooks.lastID)
      // Ids ascend in the order of the first registration.
      let index =
        hooks.entries.firstIndex { ($0.priority, $0.id) > (priority, entry.id) } ?? hooks.entries.endIndex
      hooks.entries.insert(entry, at: index)
      // Under the lock: two writers publish in the order in which they changed the entries.
      table.exchange(HookTable(hooks.entries))
      return entry.id
    }
  }

  @discardableResult
  package func unlink(_ id: UInt64) -> Bool {
    hooks.withLock { hooks in
      guard let index = hooks.entries.firstIndex(where: { $0.id == id }) else { return false }
      let entry = hooks.entries.remove(at: index)
      table.exchange(HookTable(hooks.entries))
      if let closure = entry.closure { F.retire(closure) }
      if let gate = entry.gate { F.retire(gate) }
      return true
    }
  }
}
