internal import Glibc
internal import Quiescence

/// An unload that is under way: to be looked at, joined, given up or forced.
///
/// ```swift
/// let manager = ModuleManager()
/// let attempt = manager.unloadAttempt(of: "counter")
/// print(attempt?.activity as Any, attempt?.holders as Any)
/// try await attempt?.cancel()
/// ```
///
/// The module is ``ModuleState/going`` as long as there is one. An attempt does not own the module:
/// given up, it leaves it serving.
public struct UnloadAttempt: Sendable {
  private let operation: UnloadOperation

  init(_ operation: UnloadOperation) { self.operation = operation }

  private var manager: ModuleManager { operation.manager }

  /// The module's name.
  public var module: String { operation.module.name }

  /// What it does when the module is in use. `force()` changes it.
  public var policy: BusyPolicy { operation.policy }

  /// Whether it has ended: the module has gone, serves on, or is in ``ModuleState/cleanup``. Any
  /// thread.
  public var isOver: Bool { operation.module.attempt !== operation }

  /// How long it has been under way.
  public var age: Duration { operation.start.duration(to: .now) }

  /// What it is inside, or waits for. Any thread.
  public var activity: ModuleActivity? { isOver ? nil : operation.module.activity }

  /// What keeps the module. Any thread; O(counters × processors).
  public var holders: [ModuleHolder] { operation.module.holders }

  /// Gives it up: all requests that wait for it are answered with `ECANCELED`, and the module
  /// serves on as before. Blocks for the manager's queue, and not for the module.
  ///
  /// - Threads: as `ModuleManager.unload(_:ifBusy:within:cancelledBy:)`.
  /// - Throws: `ENOENT` when it is over; `EBUSY` where nothing leads back, and why: its users were
  ///   told to go, its `init` has failed, its `stop` has run, or its code has not returned;
  ///   `EDEADLK` where it would wait for itself.
  @available(*, noasync, message: "await cancel() instead of blocking the task's thread")
  public func cancel() throws(ModuleError) { try manager.block(module) { startCancel($0, done: $1) } }

  /// Gives it up; see the blocking form.
  public func cancel() async throws(ModuleError) {
    try await manager.suspend(module) { startCancel($0, done: $1) }
  }

  /// Makes it a forced one: users are told to go, and nothing leads back. Blocks and throws as
  /// `cancel()`, but for `EBUSY`.
  @available(*, noasync, message: "await force() instead of blocking the task's thread")
  public func force() throws(ModuleError) { try manager.block(module) { startForce($0, done: $1) } }

  /// Makes it a forced one; see the blocking form.
  public func force() async throws(ModuleError) {
    try await manager.suspend(module) { startForce($0, done: $1) }
  }

  private func startCancel(_ end: RequestEnd, done: @escaping ModuleManager.Completion<Void>) {
    act(end, done) {
      operation.cancel(RequestEnd.Reason(errno: ECANCELED, text: "the unload was given up"))
    }
  }

  private func startForce(_ end: RequestEnd, done: @escaping ModuleManager.Completion<Void>) {
    act(end, done) {
      operation.force()
      return nil
    }
  }

  private func act(
    _ end: RequestEnd, _ done: @escaping ModuleManager.Completion<Void>,
    _ body: @escaping @Sendable () -> ModuleError?
  ) {
    manager.begin(module, end, done: done) {
      if isOver { return done(.failure(ModuleError(module, ENOENT, "no unload of it is under way"))) }
      if let error = body() { done(.failure(error)) } else { done(.success(())) }
    }
  }
}

extension ModuleManager {
  /// The unload of a module that is under way; nil when there is none. Any thread.
  ///
  /// An unload with ``BusyPolicy/whenIdle`` is none while it waits: the module is live then. When
  /// there is none of the module, this is that of a version that was replaced and is still going.
  public func unloadAttempt(of name: String) -> UnloadAttempt? {
    let modules = (module(named: name).map { [$0] } ?? []) + otherVersions(of: name)
    return modules.lazy.compactMap(\.attempt).first.map { UnloadAttempt($0) }
  }
}
