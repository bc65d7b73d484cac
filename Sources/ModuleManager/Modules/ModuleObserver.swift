internal import Glibc

/// An observer is told of modules on their way in, and may refuse them; and of those that have
/// gone.
///
/// ```swift
/// let quota = ModuleObserver("quota", willLoad: { module, path in
///   path.hasPrefix("/usr/") ? nil : "not installed"
/// })
/// let manager = ModuleManager()
/// manager.add(quota)
/// ```
///
/// Both run on a thread of the manager with no lock held, and may block, which holds up this module
/// alone; they must not wait for the manager. Every module that `willLoad` let in comes to
/// `hasGone` once: when its image has gone, when its `init` has failed, or when a later observer
/// has refused it. Observers are asked in the order in which they were added, and told in the
/// reverse one.
///
/// ``ModuleManager/events()`` is for clients that only look on, and ``ModuleVerifier`` decides by
/// the content of a file.
///
/// Source: Linux `notifier_call_chain_robust`, as kernel/module/main.c uses it for
/// MODULE_STATE_COMING.
public final class ModuleObserver: Sendable {
  let name: String
  let willLoad: @Sendable (_ module: String, _ path: String) -> String?
  let hasGone: @Sendable (_ module: String) -> Void

  /// - Parameters:
  ///   - name: names the observer in a refusal.
  ///   - willLoad: before any code of the module runs; nil, or why the module is refused. The path
  ///     of a built-in module is empty.
  ///   - hasGone: no code of the module is left, or will run.
  public init(
    _ name: String,
    willLoad: @escaping @Sendable (_ module: String, _ path: String) -> String? = { _, _ in nil },
    hasGone: @escaping @Sendable (_ module: String) -> Void = { _ in }
  ) {
    self.name = name
    self.willLoad = willLoad
    self.hasGone = hasGone
  }
}

extension ModuleManager {
  /// Asks `observer` of every module that comes from here on.
  public func add(_ observer: ModuleObserver) {
    withState { $0.observers.append(observer) }
  }

  /// Does not ask `observer` any more. It is still told when modules go that it has let in.
  public func remove(_ observer: ModuleObserver) {
    withState { state in state.observers.removeAll { $0 === observer } }
  }

  /// Asks every observer, and then calls `next`. As the last thing that its caller does.
  ///
  /// A failure: `EPERM` when one refuses; those that were asked before it have been told that the
  /// module has gone.
  func askObservers(
    _ module: Module, then next: @escaping @Sendable (Result<[ModuleObserver], ModuleError>) -> Void
  ) {
    let observers = withState { $0.observers }
    if observers.isEmpty { return next(.success([])) }
    module.call(.observers) {
      var accepted: [ModuleObserver] = []
      for observer in observers {
        if let reason = observer.willLoad(module.name, module.path ?? "") {
          self.tell(accepted, hasGone: module.name)
          return .failure(ModuleError(module.name, EPERM, "\(observer.name) refuses it: \(reason)"))
        }
        accepted.append(observer)
      }
      return .success(accepted)
    } then: {
      next($0)
    }
  }

  func tell(_ observers: [ModuleObserver], hasGone module: String) {
    for observer in observers.reversed() { observer.hasGone(module) }
  }
}
