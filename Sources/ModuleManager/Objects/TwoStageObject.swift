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
/// Unlinking is the first stage: the object is no longer found. The second stage is the release
/// function, which runs after the last user has closed the object. That function is code of the
/// module, so the object holds a reference to its module until the release function has *returned*.
/// The host's code gives this reference back: the module's own code could be unmapped before it
/// returns from doing so.
///
/// Source: Rusty Russell, 26 November 2002 (two-stage delete); Roman Zippel, quoted by Rusty
/// Russell, 22 September 2002 ("unlinked but still open files").
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
