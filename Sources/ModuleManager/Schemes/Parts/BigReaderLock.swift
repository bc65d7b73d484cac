internal import Glibc
internal import Quiescence

/// A read-write lock whose readers write to a cache line of their processor's own, and whose writer
/// visits all of them.
///
/// Source: Linux 2.4 lib/brlock.c (Ingo Molnar, David Miller).
package final class BigReaderLock: Sendable {
  /// A cache line for each processor.
  private nonisolated(unsafe) let slots: UnsafeMutablePointer<Slot>
  private let isWriting = Primitive.Flag(false)
  private let turn = Primitive.Guarded(())

  private struct Slot: ~Copyable {
    let readers = Primitive.Word(0)
    let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
  }

  package init() {
    slots = .allocate(capacity: Processor.count)
    for index in 0..<Processor.count { (slots + index).initialize(to: Slot()) }
  }

  deinit {
    slots.deinitialize(count: Processor.count)
    slots.deallocate()
  }

  /// Takes the read side of the current processor's slot; returns which, for ``leaveRead(_:)``. A
  /// thread may do so again.
  package func enterRead() -> Int {
    let index = Processor.current % Processor.count
    let depth = ThreadDepth.value
    while true {
      slots[index].readers.add(1, ordering: .sequentiallyConsistent)
      // The slot, then the flag; a writer does the flag, then the slots. With less than a full
      // fence on either side, both can miss the other: each store still waits in its processor's
      // store buffer.
      Primitive.fence()
      // A thread that reads already goes on: the writer waits for it.
      if depth > 0 || !isWriting.load(ordering: .sequentiallyConsistent) { break }
      slots[index].readers.subtract(1, ordering: .sequentiallyConsistent)
      while isWriting.load(ordering: .relaxed) { Primitive.yield() }
    }
    ThreadDepth.value = depth + 1
    return index
  }

  package func leaveRead(_ index: Int) {
    ThreadDepth.value -= 1
    slots[index].readers.subtract(1, ordering: .sequentiallyConsistent)
  }

  /// Takes the write side, and drops it: every reader that was inside has stopped once. Blocks; not
  /// while reading.
  ///
  /// New readers are kept out, so that a stream of them does not keep the writer; but only for so
  /// many yields: a reader that sleeps would stop every call of every module. Without that the
  /// writer still sees each slot at zero once, which is all that it needs: a reader that comes
  /// later sees what was written before this.
  package func passWrite() {
    turn.withLock { _ in
      isWriting.store(true, ordering: .sequentiallyConsistent)
      Primitive.fence()
      var yields = 0
      for index in 0..<Processor.count {
        while slots[index].readers.load(ordering: .sequentiallyConsistent) != 0 {
          yields += 1
          if yields == Self.patience { isWriting.store(false, ordering: .sequentiallyConsistent) }
          Primitive.yield()
        }
      }
      isWriting.store(false, ordering: .sequentiallyConsistent)
    }
  }

  private static let patience = 10_000
}

/// How often the calling thread reads under the process's big reader locks.
private enum ThreadDepth {
  private static let key = {
    var key = pthread_key_t()
    let error = pthread_key_create(&key, nil)
    precondition(error == 0, "no thread-local storage for a lock")
    return key
  }()

  static var value: Int {
    get { Int(bitPattern: pthread_getspecific(key)) }
    set { pthread_setspecific(key, UnsafeRawPointer(bitPattern: newValue)) }
  }
}
