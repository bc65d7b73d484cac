internal import Glibc
internal import Quiescence

/// An object that can be unlinked while it is open: gone for those who look for it, there for those who have it.
///
/// ```swift
/// func publish(_ host: ModuleHost) throws {
///   let session = try TwoStageObject("hello", of: host) { text in print("released", text) }
///   let open = session.open()
///   session.unlink()
///   print(open?.value as Any, session.open() == nil)
///   open?.close()
/// }
/// ```
///
/// The first stage takes it off the lists; whoever lets go last is the second, and releases it. The object's functions are in a
/// module: so it holds the module, until its release function has *returned*. The reference is given back here, by the host's code,
/// since the module's could be unmapped under it (scenario R24).
///
/// Source: seeds 002 and 003 (Rusty Russell: two-stage delete; Roman Zippel: unlinked but still open files).
public final class TwoStageObject<Value: Sendable>: Sendable {
  private let value: Value
  private let module: Module
  private let release: @Sendable (Value) -> Void
  /// The list's reference, and those of whoever has it open.
  private let state = Primitive.Guarded((isLinked: true, users: 1))

  /// Makes an object that is linked. Throws `EBUSY` when its module takes no users any more.
  ///
  /// - Parameter release: called once, when it is unlinked and nobody has it open; on the thread of whoever was last.
  public init(
    _ value: Value, of host: ModuleHost, release: @escaping @Sendable (Value) -> Void
  ) throws(ModuleError) {
    self.value = value
    self.release = release
    module = host.record
    if !host.acquire() { throw ModuleError(module.name, EBUSY, "takes no users any more") }
  }

  /// Opens the object; nil once it is unlinked.
  public func open() -> Open? {
    let isLinked = state.withLock { state in
      if state.isLinked { state.users += 1 }
      return state.isLinked
    }
    return isLinked ? Open(self) : nil
  }

  /// Takes it off: nobody opens it from here on. False when it was off already.
  @discardableResult
  public func unlink() -> Bool {
    let wasLinked = state.withLock { state in
      defer { state.isLinked = false }
      return state.isLinked
    }
    if wasLinked { put() }
    return wasLinked
  }

  private func put() {
    let isLast = state.withLock { state in
      state.users -= 1
      return state.users == 0
    }
    if !isLast { return }
    release(value)
    module.put()
  }

  /// An object that somebody has open.
  public final class Open: Sendable {
    private let object: TwoStageObject
    private let isOpen = Primitive.Flag(true)

    fileprivate init(_ object: TwoStageObject) { self.object = object }

    deinit { close() }

    /// The object, whether it has been unlinked or not. Until ``close()``.
    public var value: Value { object.value }

    /// Lets go. The second call does nothing.
    public func close() {
      if isOpen.exchange(false, ordering: .acquiringAndReleasing) { object.put() }
    }
  }
}
