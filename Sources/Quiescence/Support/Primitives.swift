internal import Glibc
package import Synchronization

/// Everything that unload schemes, and the slow path of counters, synchronize with.
///
/// In a normal build these are other names for the real things, and cost nothing. They are here, and nowhere else, so that
/// an explorer of interleavings can put instrumented ones in their place and run the same source.
package enum Primitive {
  /// A number that threads change without a lock.
  package typealias Word = Atomic<Int>
  /// A bit that threads change without a lock.
  package typealias Flag = Atomic<Bool>
  /// State under a lock.
  package typealias Guarded<State> = Locked<State>
  /// What a thread parks on: opened once.
  package typealias Event = Parker
  /// A mode, and a slot on every processor that is counted on by a restartable sequence.
  package typealias Slots = ProcessorCell

  /// Orders everything before it before everything behind it, for threads that do the same: store buffers are empty.
  @inlinable
  package static func fence() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  /// Lets another thread run: for a wait that ends when other threads get on, whatever that takes.
  package static func yield() { sched_yield() }

  /// Blocks until a grace period of each flavor has passed, all of them started together. The caller is outside every
  /// section.
  package static func waitForGracePeriods(of flavors: [any Flavor.Type]) {
    let events = flavors.dropLast().map { flavor in
      let event = Event()
      flavor.afterGracePeriod(.thread(event))
      return event
    }
    // The last one on this thread: without a change of threads it is over sooner.
    flavors.last?.synchronize()
    for event in events { event.wait() }
  }
}

extension Primitive {
  /// Lends a noncopyable value to closures and to many owners.
  package final class Shared<Value: ~Copyable & Sendable>: Sendable {
    package let value: Value

    package init(_ value: consuming Value) { self.value = value }
  }
}
