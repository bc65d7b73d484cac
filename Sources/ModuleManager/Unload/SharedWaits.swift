internal import Quiescence

/// What the unloads of a manager wait for, together: one grace period, one barrier, for all that
/// have come to it when the queue gets there. Each is as safe as alone: a grace period that begins
/// after the last of them has unlinked its hooks begins after each has.
///
/// The thread that has the turn waits itself, as a watched call: on the normal way that saves two
/// changes of threads, which take longer than the grace period. When it lasts, the turn is handed
/// over, and until it is over other unloads wait with a continuation, flavor by flavor: a hook
/// that blocks keeps those unloads waiting that need its flavor, and holds one thread.
final class SharedWaits: Sendable {
  private struct Entry: Sendable {
    let operation: UnloadOperation
    let next: ModuleQueue.Job
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
  private func advance(_ entries: [Entry], _ spans: [TraceSpan]) {
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
      self.advance(entries, spans)
    }
  }

  private func waitApart(_ flavors: [any Flavor.Type], _ entry: Entry, _ span: TraceSpan) {
    let isLast = Self.countDown(from: flavors.count)
    for flavor in flavors {
      flavor.afterGracePeriod(.call { if isLast() { self.queue.run { self.advance([entry], [span]) } } })
    }
  }
}

// MARK: - Callbacks

extension SharedWaits {
  /// Nothing is retired on the modules' behalf any more: their hooks have returned, and so has each
  /// `exit`.
  ///
  /// For one module the thread that has the turn runs what is left, after a grace period, which
  /// saves two changes of threads. When it lasts, that thread belongs to the module from then on.
  /// It cannot do so for several modules: a callback that does not return would hold up them all.
  /// They are run by the manager's other queue.
  private func waitForCallbacks(_ entries: [Entry]) {
    if entries.isEmpty { return }
    let spans = begin(.callbacks, entries)
    let reclaimers = entries.map(\.operation.module.reclaimers)
    if reclaimers.allSatisfy(\.isEmpty) { return advance(entries, spans) }
    if entries.count > 1 {
      for index in entries.indices { waitApart(reclaimers[index], entries[index], spans[index]) }
      return
    }
    queue.call(onHandOver: entries[0].operation.stuck) {
      RCUReclaimer.barrier(ofCohorts: reclaimers[0])
    } then: {
      self.advance(entries, spans)
    }
  }

  private func waitApart(_ reclaimers: [RCUReclaimer], _ entry: Entry, _ span: TraceSpan) {
    if reclaimers.isEmpty {
      queue.run { self.advance([entry], [span]) }
      return
    }
    // Whatever is known of the callbacks that are waited for, it is not known when they return.
    entry.operation.stuck()
    let isLast = Self.countDown(from: reclaimers.count)
    for reclaimer in reclaimers {
      reclaimer.afterCallbacks(.call { if isLast() { self.queue.run { self.advance([entry], [span]) } } })
    }
  }

  /// True for the call that comes last.
  private static func countDown(from count: Int) -> @Sendable () -> Bool {
    let left = Primitive.Shared(Primitive.Word(count))
    return { left.value.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
  }
}
