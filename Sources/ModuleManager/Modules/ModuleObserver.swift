internal import Glibc

/// Someone who is told of modules on their way in, and may refuse them; and of those that have gone.
///
/// ```swift
/// let quota = ModuleObserver("quota", willLoad: { module, path in
///   path.hasPrefix("/usr/") ? nil : "not installed"
/// })
/// let manager = ModuleManager()
/// manager.add(quota)
/// ```
///
/// Both run on the manager's thread with no lock held, and may block; they must not wait for the manager. Every module that
/// `willLoad` let in comes to `hasGone` once: when its image has gone, when its `init` has failed, or when a later
/// observer has refused it. Observers are asked in the order in which they were added, and told in the reverse one.
///
/// ``ModuleManager/events()`` is for those who only want to look.
///
/// Source: Linux `notifier_call_chain_robust`, as kernel/module/main.c uses it for MODULE_STATE_COMING.
public final class ModuleObserver: Sendable {
  let name: String
  let willLoad: @Sendable (_ module: String, _ path: String) -> String?
  let hasGone: @Sendable (_ module: String) -> Void

  /// - Parameters:
  ///   - name: whom a refusal is said to come from.
  ///   - willLoad: before the module's `init`; nil, or why the module is refused. The path of a built-in module is empty.
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

  /// Asks it no more. It is still told of those go that it let in.
  public func remove(_ observer: ModuleObserver) {
    withState { state in state.observers.removeAll { $0 === observer } }
  }

  /// Asks every observer. On the manager's thread.
  ///
  /// - Throws: `EPERM` when one refuses; those who were asked before it have been told that the module has gone.
  func askObservers(_ module: Module) throws(ModuleError) -> [ModuleObserver] {
    var accepted: [ModuleObserver] = []
    for observer in withState({ $0.observers }) {
      if let reason = observer.willLoad(module.name, module.image?.path ?? "") {
        tell(accepted, hasGone: module.name)
        throw ModuleError(module.name, EPERM, "\(observer.name) refuses it: \(reason)")
      }
      accepted.append(observer)
    }
    return accepted
  }

  func tell(_ observers: [ModuleObserver], hasGone module: String) {
    for observer in observers.reversed() { observer.hasGone(module) }
  }
}
