internal import Glibc
package import Synchronization

/// Everything that unload schemes, and the slow path of counters, synchronize with.
///
/// In a normal build these are aliases of the real types, and cost nothing. An explorer of
/// interleavings can replace them by instrumented types, and run the same source through every
/// schedule.
package enum Primitive {
  /// An integer that threads change without a lock: `Atomic<Int>`.
  package typealias Word = Atomic<Int>
  /// A Boolean that threads change without a lock: `Atomic<Bool>`.
  package typealias Flag = Atomic<Bool>
  /// State that is guarded by a lock: ``Locked``.
  package typealias Guarded<State> = Locked<State>
  /// A one-shot event that threads block on: ``Parker``.
  package typealias Event = Parker
  /// A mode, and a slot per processor that restartable sequences count on: ``ProcessorCell``.
  package typealias Slots = ProcessorCell

  /// A full fence: orders all accesses before it before all accesses after it, for threads that
  /// also use one. It empties the store buffer.
  @inlinable
  package static func fence() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  /// Lets another thread run, in a loop that waits for the progress of other threads.
  package static func yield() { sched_yield() }

  /// Blocks until a grace period of each flavor has passed. All of them start together. The caller
  /// is outside every section.
  package static func waitForGracePeriods(of flavors: [any Flavor.Type]) {
    let events = flavors.dropLast().map { flavor in
      let event = Event()
      flavor.afterGracePeriod(.thread(event))
      return event
    }
    // The last one on this thread: without a switch of threads it ends sooner.
    flavors.last?.synchronize()
    for event in events { event.wait() }
  }
}

extension Primitive {
  /// Lends a noncopyable value to closures, and shares it between owners.
  package final class Shared<Value: ~Copyable & Sendable>: Sendable {
    package let value: Value

    package init(_ value: consuming Value) { self.value = value }
  }
}
