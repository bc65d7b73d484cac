/// What became of the two versions of a module of which one has replaced the other.
///
/// The new version serves, whatever became of the old one.
public struct ModuleReplacement: Sendable {
  /// The new version.
  public let module: ModuleStatus
  /// What became of the old version, as an unload of it would have ended: unloaded; resident; or
  /// deferred, with the holders for which it waits, and which `ModuleManager.list()` shows as well.
  /// A failure: its `exit` has refused. It is in ``ModuleState/cleanup``, and each later unload or
  /// replacement of the module tries again.
  public let unload: Result<UnloadOutcome, ModuleError>
  /// Whether the new version goes on with the state of the old one: both have one, of the same
  /// layout (`state_version` and `state_size` in `quiescent_module.h`).
  public let keepsState: Bool

  /// Nil when its `exit` has refused.
  var outcome: UnloadOutcome? { try? unload.get() }
}
