internal import Glibc
internal import Quiescence

/// The waits of one manager for modules that are unused.
final class UseWatches: Sendable {
  private let queue: ModuleQueue
  private let list = Primitive.Guarded<[UseWatch]>([])
  private let isLookQueued = Primitive.Flag(false)

  init(_ queue: ModuleQueue) { self.queue = queue }

  var isEmpty: Bool { list.withLock { $0.isEmpty } }

  /// On the queue, as the last thing that its caller does; and so all that follows but
  /// ``queueLook()``.
  func add(_ watch: UseWatch) {
    list.withLock { $0.append(watch) }
    // Else the end would be noticed at the next put.
    watch.end?.attach { _ in self.queueLook() }
    ReleaseNotifier.add(self)
    look()
  }

  /// Looks soon, on the queue. Any thread, also inside sections.
  func queueLook() {
    // One that is queued has not begun: it will see what the caller did before.
    if isLookQueued.exchange(true, ordering: .acquiringAndReleasing) { return }
    queue.run { [self] in look() }
  }

  private func look() {
    // An exchange, not a store: it reads the last of those that found it queued, and so comes after
    // what they did.
    _ = isLookQueued.exchange(false, ordering: .acquiringAndReleasing)
    if isEmpty { return }
    // Without restartable sequences it waits for readers.
    queue.call({ ReleaseNotifier.arm() }, then: { [self] in lookAtAll() })
  }

  private func lookAtAll() {
    for watch in list.withLock({ $0 }) {
      switch watch.verdict {
      case .waits: continue
      case .unused where watch.module.code.hasUseCount: ask(watch)
      case .unused: end(watch, nil)
      case .fails(let reason): end(watch, reason)
      }
    }
    if isEmpty { ReleaseNotifier.remove(self) }
  }

  /// Asks the module's own `usecount`, as a job: it may last.
  private func ask(_ watch: UseWatch) {
    if !watch.isAsking.exchange(true, ordering: .acquiringAndReleasing) {
      queue.run { [self] in
        watch.module.call(.useCount) {
          watch.module.code.useCount
        } then: { [self] own in
          watch.isAsking.store(false, ordering: .releasing)
          if own > 0 { return }
          // Again: meanwhile others may have come, or have unloaded it.
          if case .unused = watch.verdict { end(watch, nil) }
          if isEmpty { ReleaseNotifier.remove(self) }
        }
      }
    }
    // Its end does not wait for that.
    if let error = watch.endError { end(watch, error) }
  }

  /// Once: one that has ended is not in the list any more.
  private func end(_ watch: UseWatch, _ error: ModuleError?) {
    let isFirst = list.withLock { list in
      let count = list.count
      list.removeAll { $0 === watch }
      return list.count < count
    }
    if isFirst { watch.next(error) }
  }
}

/// A wait until a module is unused. It keeps the module's record, and with it the manager.
final class UseWatch: Sendable {
  enum Verdict {
    case waits, unused
    case fails(ModuleError)
  }

  let module: Module
  let end: RequestEnd?
  /// Its `usecount` is about to be called.
  fileprivate let isAsking = Primitive.Flag(false)
  /// Called once, on the manager's queue: the module is unused now, or why the wait is over. It
  /// calls no module's code.
  fileprivate let next: @Sendable (ModuleError?) -> Void

  init(_ module: Module, endedBy end: RequestEnd?, _ next: @escaping @Sendable (ModuleError?) -> Void) {
    self.module = module
    self.end = end
    self.next = next
  }

  fileprivate var verdict: Verdict {
    if module.manager.module(named: module.name) !== module {
      return .fails(module.lostError)
    }
    switch module.currentState {
    case .live where module.isPermanent: return .fails(module.permanentError)
    case .live, .cleanup:
      if module.attempt == nil && module.isUnused { return .unused }
    // On its way in or out: it will be in one of the above, or gone, and that is looked at then.
    default: break
    }
    return endError.map { .fails($0) } ?? .waits
  }

  /// Nil while it may go on.
  fileprivate var endError: ModuleError? {
    guard let reason = end?.reason else { return nil }
    let holders = module.holders
    let users = holders.isEmpty ? "is \(module.currentState)\(module.remark)" : "in use: \(holders.joined)"
    return ModuleError(module.name, reason.errno, "\(reason.text), \(users)", holders: holders)
  }
}

extension Module {
  /// It has no users that the manager knows of, and no module depends on it. On the manager's
  /// queue.
  fileprivate var isUnused: Bool { holders.isEmpty && manager.dependents(of: self).isEmpty }

  /// Another module may have its name.
  var lostError: ModuleError {
    ModuleError(name, ENOENT, "has been \(withLinks { $0.isReplaced } ? "replaced" : "unloaded") meanwhile")
  }

  var permanentError: ModuleError {
    let why = code.isPermanent ? "it has no exit" : "it was loaded to stay"
    return ModuleError(name, EBUSY, "permanent: \(why)")
  }
}

extension [ModuleHolder] {
  /// For a line.
  var joined: String { map(\.description).joined(separator: ", ") }
}
