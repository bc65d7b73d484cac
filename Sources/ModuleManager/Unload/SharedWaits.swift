internal import Quiescence

/// What the unloads of a manager wait for, together: one grace period, one barrier, for all that
/// have come to it when the queue gets there. Each is as safe as alone: a grace period that begins
/// after the last of them has unlinked its hooks begins after each has.
///
/// The thread that has the turn waits itself, as a watched call: on the normal way that saves two
/// changes of threads, which take longer than the grace period. When it lasts, the turn is handed
/// over, and until it is over others ask for theirs with a continuation, flavor by flavor: a hook
/// that blocks keeps those unloads waiting that need its flavor, and holds one thread.
final class SharedWaits: Sendable {
  private struct Entry: Sendable {
    let operation: UnloadOperation
    let next: ModuleQueue.Job
    let once = Once()

    var retirements: Int { operation.module.retirements.load(ordering: .relaxed) }
  }

  private struct State {
    var readers: [Entry] = []
    var callbacks: [Entry] = []
    var isQueued = false
    /// Waits for readers that threads are stuck in.
    var stalled = 0
  }

  private let queue: ModuleQueue
  private let state = Primitive.Guarded(State())

  init(_ queue: ModuleQueue) { self.queue = queue }

  /// Runs `next` on the queue when a grace period of the module's flavors has passed.
  func afterReaders(_ operation: UnloadOperation, _ next: @escaping ModuleQueue.Job) {
    add { $0.readers.append(Entry(operation: operation, next: next)) }
  }

  /// Runs `next` on the queue when everything that the module retired has run.
  func afterCallbacks(_ operation: UnloadOperation, _ next: @escaping ModuleQueue.Job) {
    add { $0.callbacks.append(Entry(operation: operation, next: next)) }
  }

  private func add(_ change: (inout State) -> Void) {
    let isFirst = state.withLock { state in
      change(&state)
      defer { state.isQueued = true }
      return !state.isQueued
    }
    // Behind the jobs of others that are about to come here.
    if isFirst { queue.run { self.wait() } }
  }

  private func wait() {
    let (readers, callbacks) = state.withLock { state in
      defer {
        state.readers = []
        state.callbacks = []
        state.isQueued = false
      }
      return (state.readers, state.callbacks)
    }
    if !readers.isEmpty && !callbacks.isEmpty { queue.run { self.waitForCallbacks(callbacks) } }
    if !readers.isEmpty { waitForReaders(readers) } else { waitForCallbacks(callbacks) }
  }

  /// The last thing that its caller does.
  private func goOn(_ entries: [Entry], _ spans: [TraceSpan]) {
    // Those that begin together are one inside the other: on a timeline the slices of a thread must
    // not overlap.
    for (entry, span) in zip(entries, spans).reversed() { entry.operation.manager.tracer.end(span) }
    if entries.count == 1 { return entries[0].next() }
    for entry in entries { queue.run(entry.next) }
  }

  private func begin(_ kind: TraceEvent.Kind, _ entries: [Entry]) -> [TraceSpan] {
    entries.map { $0.operation.manager.tracer.begin(kind, $0.operation.module.name) }
  }
}

// MARK: - Readers

extension SharedWaits {
  private func waitForReaders(_ entries: [Entry]) {
    let spans = begin(.readers, entries)
    let flavors = entries.map(\.operation.module.flavors)
    let first = flavors[0]
    let areSame = flavors.allSatisfy { $0.count == first.count && zip($0, first).allSatisfy { $0 == $1 } }
    if !areSame || state.withLock({ $0.stalled > 0 }) {
      for index in entries.indices {
        // Whatever is known of the readers that are waited for, it is not known when they leave.
        entries[index].operation.stuck()
        waitApart(flavors[index], entries[index], spans[index])
      }
      return
    }
    let stall = Once()
    let isStalled: ModuleQueue.Job = {
      if !stall.take() { return }
      self.state.withLock { $0.stalled += 1 }
      for entry in entries { entry.operation.stuck() }
    }
    queue.call(onHandOver: isStalled) {
      Primitive.waitForGracePeriods(of: first)
    } then: {
      if !stall.take() { self.state.withLock { $0.stalled -= 1 } }
      self.goOn(entries, spans)
    }
  }

  private func waitApart(_ flavors: [any Flavor.Type], _ entry: Entry, _ span: TraceSpan) {
    let left = Primitive.Guarded(flavors.count)
    let count = Primitive.Shared(left)
    for flavor in flavors {
      flavor.afterGracePeriod(
        .call {
          let isLast = count.value.withLock { left in
            left -= 1
            return left == 0
          }
          if isLast { self.queue.run { self.goOn([entry], [span]) } }
        })
    }
  }
}

// MARK: - Callbacks

extension SharedWaits {
  /// Nothing is retired on the modules' behalf any more: their hooks have returned, and so has each
  /// `exit`.
  ///
  /// One flavor after the other: what a module retires goes through them in this order (see
  /// `Module.retire`), and a barrier of the second that ran beside the first could miss it. A
  /// callback that retires in turn starts again with the first flavor, whose barrier has passed:
  ///
  ///     barrier of Memb returns
  ///     callback, after a grace period of MB: retires, and waits in Memb's queue
  ///     barrier of MB returns: nothing is left in its queue
  ///
  /// So a round in which anything was retired is followed by another one.
  private func waitForCallbacks(_ entries: [Entry]) {
    if entries.isEmpty { return }
    let spans = begin(.callbacks, entries)
    let cohorts = entries.map { $0.operation.module.reclaimers }
    if cohorts.allSatisfy(\.isEmpty) { return goOn(entries, spans) }
    let lasts: ModuleQueue.Job = {
      for (index, entry) in entries.enumerated() {
        entry.operation.stuck()
        self.waitApart(cohorts[index], entry, spans[index])
      }
    }
    queue.call(onHandOver: lasts) {
      var before: [Int]
      repeat {
        before = entries.map(\.retirements)
        for step in 0..<(cohorts.map(\.count).max() ?? 0) {
          RCUReclaimer.barrier(ofCohorts: cohorts.compactMap { step < $0.count ? $0[step] : nil })
        }
      } while before != entries.map(\.retirements)
    } then: {
      let left = entries.indices.filter { entries[$0].once.take() }
      if !left.isEmpty { self.goOn(left.map { entries[$0] }, left.map { spans[$0] }) }
    }
  }

  /// A callback of one of them does not return, or they go on for ever: from here on each waits for
  /// its own alone.
  private func waitApart(_ reclaimers: [RCUReclaimer], _ entry: Entry, _ span: TraceSpan) {
    let before = entry.retirements
    waitForEach(of: reclaimers[...]) {
      if before != entry.retirements { return self.waitApart(reclaimers, entry, span) }
      if entry.once.take() { self.goOn([entry], [span]) }
    }
  }

  private func waitForEach(of reclaimers: ArraySlice<RCUReclaimer>, then next: @escaping ModuleQueue.Job) {
    guard let reclaimer = reclaimers.first else { return next() }
    reclaimer.afterCallbacks(
      .call { self.queue.run { self.waitForEach(of: reclaimers.dropFirst(), then: next) } })
  }
}
