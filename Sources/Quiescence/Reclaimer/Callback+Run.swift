extension Callback {
  func run() {
    switch kind {
    // Every initializer that chooses `.reclaim` sets the argument.
    case .reclaim(let type): type.reclaim(argument!)
    case .call(let function): function(argument)
    }
  }

  /// Undoes what making it has retained, instead of running it.
  func cancelRelease() {
    if case .reclaim = kind, let argument { Unmanaged<AnyObject>.fromOpaque(argument).release() }
  }
}

/// Erases the type of what is retired without allocating: a metatype, not a closure.
@usableFromInline
package protocol Reclaimable: SendableMetatype {
  /// Frees what is at `argument`: once, after a grace period.
  static func reclaim(_ argument: UnsafeMutableRawPointer)
}

enum DestroyValue<Value: ~Copyable & Sendable>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let pointer = argument.assumingMemoryBound(to: Value.self)
    pointer.deinitialize(count: 1)
    pointer.deallocate()
  }
}

enum DestroyVersion<Value: ~Copyable & Sendable>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Version.destroy(argument.assumingMemoryBound(to: Value.self))
  }
}

enum ReleaseObject: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Unmanaged<AnyObject>.fromOpaque(argument).release()
  }
}

final class RunClosure: Reclaimable, Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) {
    self.body = body
  }

  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    Unmanaged<RunClosure>.fromOpaque(argument).takeRetainedValue().body()
  }
}
