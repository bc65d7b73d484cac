internal import Quiescence

extension UnloadOperation {
  /// Tells whoever holds the module that it is to go, when the policy is force; and leaves the taint. After new users are
  /// kept out: one that is told to let go must not be followed by another.
  package func tellUsers() {
    if !isForced { return }
    let holders = module.holders
    let revocations = module.withLinks { links in
      links.isForced = true
      defer { links.revocations = [:] }
      return Array(links.revocations.values)
    }
    if !holders.isEmpty { manager.taint(ModuleTaint(module: module.name, holders: holders)) }
    for revoke in revocations { revoke() }
  }
}

extension ModuleManager {
  /// The unloads that were forced on users, oldest first. Never cleared: whoever looks into a crash wants to know.
  public var taints: [ModuleTaint] { withState { $0.taints } }

  func taint(_ taint: ModuleTaint) { withState { $0.taints.append(taint) } }
}

/// A module was forced out while it was in use.
///
/// Source: Linux `TAINT_FORCED_RMMOD`.
public struct ModuleTaint: Hashable, Sendable {
  /// The module's name.
  public let module: String
  /// Who held it then.
  public let holders: [ModuleHolder]
}
