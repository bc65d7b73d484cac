internal import Quiescence

/// The one way into a module's code.
extension Module {
  /// What the module is inside, and the calls that wait for that.
  struct Calls {
    var current: ModuleActivity.Start?
    var waiting: [ModuleQueue.Job] = []
    /// Jobs that wait until the current one returns; they are no calls.
    var afterwards: [ModuleQueue.Job] = []
  }

  /// Calls the module's code by `body` as a watched call of the manager's queue, and then `next`.
  /// On the queue, as the last thing that its caller does: see
  /// ``ModuleQueue/call(onHandOver:_:then:)``.
  ///
  /// A module is inside one call at a time: another waits until the first returns. So `exit` does
  /// not run beside a `set` that hangs, and nothing is unmapped under a thread that is stuck in it.
  func call<Result: Sendable>(
    _ kind: ModuleActivity.Kind, onHandOver: ModuleQueue.Job? = nil,
    _ body: @escaping @Sendable () -> Result, then next: @escaping @Sendable (Result) -> Void
  ) {
    let start = ModuleActivity.Start(kind: kind, thread: ServiceThread.currentID)
    let isFree = withLinks { links in
      if links.calls.current == nil {
        links.calls.current = start
        return true
      }
      links.calls.waiting.append { self.call(kind, onHandOver: onHandOver, body, then: next) }
      return false
    }
    if !isFree {
      // It waits for a call that may be stuck.
      if let onHandOver { manager.queue.run(onHandOver) }
      return
    }
    manager.queue.call(onHandOver: onHandOver, body) { result in
      let jobs = self.withLinks { links in
        links.calls.current = nil
        defer { links.calls.afterwards = [] }
        return links.calls.waiting.isEmpty
          ? links.calls.afterwards : [links.calls.waiting.removeFirst()] + links.calls.afterwards
      }
      for job in jobs { self.manager.queue.run(job) }
      next(result)
    }
  }

  /// Whether the calling thread is inside the module's `exit`.
  var isInsideExit: Bool {
    withLinks { $0.calls.current.map { $0.kind == .exit && $0.thread == ServiceThread.currentID } ?? false }
  }

  /// What it waits for from here on; nil when that is over.
  func setWait(_ kind: ModuleActivity.Kind?) {
    let start = kind.map { ModuleActivity.Start(kind: $0, thread: nil) }
    withLinks { $0.wait = start }
  }

  /// What it is inside, or waits for, now.
  var activity: ModuleActivity? {
    let start = withLinks { links in links.calls.current ?? links.wait }
    return start.map { $0.activity(on: $0.kind == .services ? services.thread : nil) }
  }
}
