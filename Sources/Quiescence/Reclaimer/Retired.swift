/// A value that was replaced: its readers may not have left yet.
///
/// Dropping it destroys the value after a grace period. Taking it waits for one.
public struct Retired<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: this is its one owner, and the value behind it is Sendable.
  private let pointer: UnsafeMutablePointer<Value>

  init(_ pointer: UnsafeMutablePointer<Value>) {
    self.pointer = pointer
  }

  deinit {
    F.enqueue(Callback(destroyingVersion: pointer))
  }

  /// Lends the value to `body`. Readers may be reading it too.
  ///
  /// - Complexity: no section, no wait.
  /// - Threads: any.
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(pointer.pointee)
  }

  /// Waits for a grace period and gives the value back. Blocks; traps inside a section.
  @available(*, noasync, message: "await take() instead")
  public consuming func take() -> Value {
    F.synchronize()
    let pointer = pointer
    discard self
    return Version.take(pointer)
  }

  /// Waits for a grace period and gives the value back.
  public consuming func take() async -> Value {
    await F.synchronize()
    let pointer = pointer
    discard self
    return Version.take(pointer)
  }
}
