internal import Glibc
internal import Quiescence

/// Who waits until a module of one manager is unused.
final class UseWatches: Sendable {
  private let thread: ModuleThread
  private let list = Primitive.Guarded<[UseWatch]>([])
  private let isLookQueued = Primitive.Flag(false)

  init(_ thread: ModuleThread) { self.thread = thread }

  var isEmpty: Bool { list.withLock { $0.isEmpty } }

  /// On the manager's thread, as all that follows but ``queueLook()``.
  func add(_ watch: UseWatch) {
    list.withLock { $0.append(watch) }
    ReleaseNotifier.add(self)
    look()
  }

  /// Looks soon, on the manager's thread. Any thread, also inside sections.
  func queueLook() {
    // One that is queued has not begun: it will see what the caller did before.
    if isLookQueued.exchange(true, ordering: .acquiringAndReleasing) { return }
    _ = thread.run { [self] in look() }
  }

  private func look() {
    // An exchange, not a store: it reads the last of those that found it queued, and so comes after what they did.
    _ = isLookQueued.exchange(false, ordering: .acquiringAndReleasing)
    if isEmpty { return }
    ReleaseNotifier.arm()
    for watch in list.withLock({ $0 }) {
      let error: ModuleError?
      // Each just before it is told: who was told before it may have unloaded the module.
      switch watch.verdict {
      case .waits: continue
      case .unused: error = nil
      case .fails(let reason): error = reason
      }
      list.withLock { list in list.removeAll { $0 === watch } }
      watch.next(error)
    }
    if isEmpty { ReleaseNotifier.remove(self) }
  }
}

/// One who waits until a module is unused. It keeps the module's record, and with it the manager.
final class UseWatch: Sendable {
  enum Verdict {
    case waits, unused
    case fails(ModuleError)
  }

  private let module: Module
  private let end: EarlyEnd
  /// Called once, on the manager's thread: nobody uses the module now, or why the wait is over.
  fileprivate let next: @Sendable (ModuleError?) -> Void

  init(_ module: Module, endedBy end: EarlyEnd, _ next: @escaping @Sendable (ModuleError?) -> Void) {
    self.module = module
    self.end = end
    self.next = next
  }

  fileprivate var verdict: Verdict {
    if module.manager.withState({ $0.modules[module.name] }) !== module {
      return .fails(ModuleError(module.name, ENOENT, "has been unloaded meanwhile"))
    }
    switch module.currentState {
    case .live where module.isPermanent: return .fails(module.permanentError)
    case .live, .cleanup:
      if module.isUnused { return .unused }
    // On its way in or out: it will be in one of the above, or gone, and that is looked at then.
    default: break
    }
    guard let reason = end.reason else { return .waits }
    let holders = module.holders
    let who = holders.isEmpty ? "is \(module.currentState)" : "in use: \(holders.joined)"
    return .fails(ModuleError(module.name, reason.errno, "\(reason.text), \(who)", holders: holders))
  }
}

extension Module {
  /// Nobody holds it, and no module depends on it: an unload that waits for nobody would get past its first look. On the
  /// manager's thread.
  fileprivate var isUnused: Bool { holders.isEmpty && manager.dependents(of: self).isEmpty }

  var permanentError: ModuleError { ModuleError(name, EBUSY, "permanent: it has no exit") }
}

extension [ModuleHolder] {
  /// For a line.
  var joined: String { map(\.description).joined(separator: ", ") }
}
