/// One thing to do after a grace period: three plain words, copied without reference counting.
struct Callback: Sendable {
  let kind: Kind
  nonisolated(unsafe) let argument: UnsafeMutableRawPointer?

  enum Kind: Sendable {
    case reclaim(any Reclaimable.Type)
    case call(@convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void)
  }

  /// Deinitializes and deallocates the value.
  init<Value: ~Copyable & Sendable>(destroying pointer: UnsafeMutablePointer<Value>) {
    kind = .reclaim(DestroyValue<Value>.self)
    argument = UnsafeMutableRawPointer(pointer)
  }

  /// Has `type` reclaim what is at `pointer`.
  init(reclaiming pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type) {
    kind = .reclaim(type)
    argument = pointer
  }

  /// Destroys a version of a box.
  init<Value: ~Copyable & Sendable>(destroyingVersion pointer: UnsafeMutablePointer<Value>) {
    kind = .reclaim(DestroyVersion<Value>.self)
    argument = UnsafeMutableRawPointer(pointer)
  }

  /// Releases the object.
  init<Object: AnyObject & Sendable>(releasing object: consuming Object) {
    kind = .reclaim(ReleaseObject.self)
    argument = Unmanaged<AnyObject>.passRetained(object).toOpaque()
  }

  /// Runs the closure, then releases it.
  init(running body: @escaping @Sendable () -> Void) {
    kind = .reclaim(RunClosure.self)
    argument = Unmanaged.passRetained(RunClosure(body)).toOpaque()
  }

  /// Calls the C function with `argument`.
  init(
    calling function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void,
    with argument: UnsafeMutableRawPointer?
  ) {
    kind = .call(function)
    self.argument = argument
  }
}
