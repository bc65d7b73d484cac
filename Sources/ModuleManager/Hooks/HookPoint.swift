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

    mutating func insert(_ hook: UnlinkedHook, as id: UInt64) {
      // Ids ascend in the order of the first registration.
      let index =
        entries.firstIndex { ($0.hook.priority, $0.id) > (hook.priority, id) } ?? entries.endIndex
      entries.insert(HookEntry(hook: hook, id: id), at: index)
    }
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
  /// Removes the hooks with these ids, and adds others, in one publication: a round calls all of
  /// the former or all of the latter. Returns the ids of those that were added.
  ///
  /// The first of `added` with some priority takes the place, and the id, of the first of `removed`
  /// with that priority; the second one that of the second; and so on. Others come behind those of
  /// their priority. What was removed must not come back.
  func replace(_ removed: [UInt64], with added: [UnlinkedHook]) -> [UInt64]
}

extension HookPoint: AnyHookPoint where Argument: ~Copyable {
  package var flavor: any Flavor.Type { F.self }

  package func link(
    _ function: HookFunction, closure: HookClosure?, gate: HookGate?, priority: Int, as id: UInt64?
  ) -> UInt64 {
    hooks.withLock { hooks in
      if id == nil { hooks.lastID += 1 }
      let hook = UnlinkedHook(function: function, closure: closure, gate: gate, priority: priority)
      let id = id ?? hooks.lastID
      hooks.insert(hook, as: id)
      // Under the lock: two writers publish in the order in which they changed the entries.
      table.exchange(HookTable(hooks.entries))
      return id
    }
  }

  @discardableResult
  package func unlink(_ id: UInt64) -> Bool {
    hooks.withLock { hooks in
      guard let index = hooks.entries.firstIndex(where: { $0.id == id }) else { return false }
      let entry = hooks.entries.remove(at: index)
      table.exchange(HookTable(hooks.entries))
      retire(entry.hook)
      return true
    }
  }

  package func replace(_ removed: [UInt64], with added: [UnlinkedHook]) -> [UInt64] {
    hooks.withLock { hooks in
      let old = hooks.entries.filter { removed.contains($0.id) }
      hooks.entries.removeAll { removed.contains($0.id) }
      var places = old
      let ids = added.map { hook in
        let place = places.firstIndex { $0.hook.priority == hook.priority }
        if place == nil { hooks.lastID += 1 }
        let id = place.map { places.remove(at: $0).id } ?? hooks.lastID
        hooks.insert(hook, as: id)
        return id
      }
      // One store. With a table without the old ones in between, or with both:
      // caller: loads that table; writer: stores the last one; caller: calls none, or both.
      table.exchange(HookTable(hooks.entries))
      for entry in old { retire(entry.hook) }
      return ids
    }
  }

  /// After the table that has it was replaced: a round that began before may still be inside.
  private func retire(_ hook: UnlinkedHook) {
    if let closure = hook.closure { F.retire(closure) }
    if let gate = hook.gate { F.retire(gate) }
  }
}
