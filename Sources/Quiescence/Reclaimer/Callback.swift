/// One thing to do after a grace period: three plain words, copied without reference counting.
struct Callback: Sendable {
  private let kind: Kind
  private nonisolated(unsafe) let argument: UnsafeMutableRawPointer?

  private enum Kind: Sendable {
    case reclaim(any Reclaimable.Type)
    case call(@convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void)
  }

  /// Deinitializes and deallocates the value.
  init<Value: ~Copyable & Sendable>(destroying pointer: UnsafeMutablePointer<Value>) {
    kind = .reclaim(DestroyValue<Value>.self)
    argument = UnsafeMutableRawPointer(pointer)
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

  /// Undoes what making it has retained, instead of running it.
  func cancelRelease() {
    if case .reclaim = kind, let argument { Unmanaged<AnyObject>.fromOpaque(argument).release() }
  }

  func run() {
    switch kind {
    // Every initializer that chooses `.reclaim` sets the argument.
    case .reclaim(let type): type.reclaim(argument!)
    case .call(let function): function(argument)
    }
  }
}

/// Erases the type of what is retired without allocating: a metatype, not a closure.
private protocol Reclaimable: SendableMetatype {
  static func reclaim(_ argument: UnsafeMutableRawPointer)
}

private enum DestroyValue<Value: ~Copyable & Sendable>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let pointer = argument.assumingMemoryBound(to: Value.self)
    pointer.deinitialize(count: 1)
    pointer.deallocate()
  }
}

private enum DestroyVersion<Value: ~Copyable & Sendable>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Version.destroy(argument.assumingMemoryBound(to: Value.self))
  }
}

private enum ReleaseObject: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Unmanaged<AnyObject>.fromOpaque(argument).release()
  }
}

private final class RunClosure: Reclaimable, Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) {
    self.body = body
  }

  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Unmanaged<RunClosure>.fromOpaque(argument).takeRetainedValue().body()
  }
}
