internal import Quiescence

extension UnloadOperation {
  /// Tells the users that the module will go, when the policy is force; and leaves the taint. After
  /// new users are kept out: one that is told to release it must not be followed by another.
  package func tellUsers() {
    if !isForced { return }
    let holders = module.holders
    let (wasForced, revocations) = module.withLinks { links in
      defer {
        links.isForced = true
        links.revocations = [:]
      }
      return (links.isForced, Array(links.revocations.values))
    }
    if !wasForced && !holders.isEmpty { manager.taint(ModuleTaint(module: module.name, holders: holders)) }
    for revoke in revocations { revoke() }
    // Workers may be users as well.
    module.services.requestStop()
  }
}

extension ModuleManager {
  /// The unloads that were forced on users, oldest first. Never cleared: they help to explain a
  /// later crash.
  public var taints: [ModuleTaint] { withState { $0.taints } }

  func taint(_ taint: ModuleTaint) { withState { $0.taints.append(taint) } }
}

/// A module was forced out while it was in use.
///
/// Source: Linux `TAINT_FORCED_RMMOD`.
public struct ModuleTaint: Hashable, Sendable {
  /// The module's name.
  public let module: String
  /// The holders then.
  public let holders: [ModuleHolder]
}
