internal import Glibc
internal import Quiescence

/// An object that can be unlinked while it is open: it can no longer be found, and stays usable for
/// those that have it open.
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
  /// The list's reference, and one per open handle.
  private let state = Primitive.Guarded((isLinked: true, users: 1))

  /// Creates an object that is linked. Throws `EBUSY` if its module accepts no users any more.
  ///
  /// - Parameters:
  ///   - value: What the handles give access to.
  ///   - host: Of the module that the object keeps loaded.
  ///   - release: Called once, after the object is unlinked and the last handle is closed, on the
  ///     thread that did the last of these.
  public init(
    _ value: Value, of host: ModuleHost, release: @escaping @Sendable (Value) -> Void
  ) throws(ModuleError) {
    self.value = value
    self.release = release
    module = host.record
    if !host.acquire() { throw ModuleError(module.name, EBUSY, "accepts no users any more") }
  }

  /// Opens the object. Nil once it is unlinked.
  public func open() -> Open? {
    let isLinked = state.withLock { state in
      if state.isLinked { state.users += 1 }
      return state.isLinked
    }
    return isLinked ? Open(self) : nil
  }

  /// Unlinks the object: it cannot be opened from now on. Returns false if it was unlinked before.
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

  /// An open handle of an object.
  public final class Open: Sendable {
    private let object: TwoStageObject
    private let isOpen = Primitive.Flag(true)

    fileprivate init(_ object: TwoStageObject) { self.object = object }

    deinit { close() }

    /// The object, linked or not. Valid until ``close()``.
    public var value: Value { object.value }

    /// Closes the handle. A second call has no effect.
    public func close() {
      if isOpen.exchange(false, ordering: .acquiringAndReleasing) { object.put() }
    }
  }
}
