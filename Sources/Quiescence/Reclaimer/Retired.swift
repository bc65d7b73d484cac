/// A value that was replaced: readers may still be using it.
///
/// Dropping it destroys the value after a grace period. Taking it waits for one.
public struct Retired<Value: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: this is its one owner, and the value behind it is Sendable.
  /// Nil only in the deinitializer, after the value was taken.
  private var pointer: UnsafeMutablePointer<Value>?
  private let protection: Protection
  /// A version of a box, or a value that has its memory for itself.
  private let isVersion: Bool

  init(_ pointer: UnsafeMutablePointer<Value>, _ protection: Protection) {
    self.pointer = pointer
    self.protection = protection
    isVersion = true
  }

  /// A value that has its memory for itself, and readers under `flavor`.
  @usableFromInline
  package init<F: Flavor>(_ pointer: UnsafeMutablePointer<Value>, readUnder flavor: F.Type) {
    self.pointer = pointer
    protection = .flavor(flavor, nil)
    isVersion = false
  }

  deinit {
    guard let pointer else { return }
    protection.retire(isVersion ? Callback(destroyingVersion: pointer) : Callback(destroying: pointer))
  }

  /// Lends the value to `body`. Readers may be reading it at the same time.
  ///
  /// - Complexity: no section, no wait.
  /// - Threads: any.
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(pointer.unsafelyUnwrapped.pointee)
  }

  /// Waits for a grace period and gives the value back. Blocks; traps inside a section of the same
  /// flavor or domain.
  @available(*, noasync, message: "await take() instead")
  public consuming func take() -> Value {
    protection.synchronize()
    return moveOut()
  }

  /// Waits for a grace period and gives the value back.
  public consuming func take() async -> Value {
    await protection.synchronize()
    return moveOut()
  }

  private consuming func moveOut() -> Value {
    let taken = pointer.unsafelyUnwrapped
    pointer = nil
    if isVersion { return Version.take(taken) }
    defer { taken.deallocate() }
    return taken.move()
  }
}

/// What protects the readers of a box: whose grace period an old version waits for, and what
/// destroys it then.
enum Protection: Sendable {
  /// The flavor's own reclaimer when there is no other.
  case flavor(any Flavor.Type, RCUReclaimer?)
  case domain(SleepableCore, RCUReclaimer)

  func retire<Value: ~Copyable & Sendable>(_ pointer: UnsafeMutablePointer<Value>) {
    retire(Callback(destroyingVersion: pointer))
  }

  func retire(_ callback: Callback) {
    switch self {
    case .flavor(let flavor, nil): flavor.enqueue(callback)
    case .flavor(_, let reclaimer?): _ = reclaimer.core.enqueue(callback)
    case .domain(_, let reclaimer): _ = reclaimer.core.enqueue(callback)
    }
  }

  @available(*, noasync, message: "await synchronize() instead")
  func synchronize() {
    switch self {
    case .flavor(let flavor, _): flavor.synchronize()
    case .domain(let core, _):
      core.checkNotInside("synchronize()")
      core.wait()
    }
  }

  func synchronize() async {
    switch self {
    case .flavor(let flavor, _): await flavor.synchronize()
    case .domain(let core, _): await core.waitSuspended()
    }
  }
}
