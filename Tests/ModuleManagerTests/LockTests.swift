import Bigref
import Foundation
import ModuleManager
import Synchronization
import TestSupport
import Testing

/// The parts that locking schemes are made of.
@Suite struct LockTests {
  @Test func secondAcquireByTheOwnerIsEDEADLK() async {
    await onThread {
      let lock = ReadWriteSemaphore()
      #expect(lock.acquireRead() == 0)
      #expect(lock.acquireRead() == EDEADLK)
      #expect(lock.acquireWrite() == EDEADLK)
      lock.releaseRead()
      #expect(lock.acquireWrite() == 0)
      #expect(lock.acquireRead() == EDEADLK)
      lock.releaseWrite()
      #expect(lock.acquireRead() == 0)
      lock.releaseRead()
    }
  }

  @Test(.exclusive) func writerIsExclusive() async {
    let lock = ReadWriteSemaphore()
    let readers = Counter()
    let writers = Counter()
    let wrong = Counter()
    await onThreads(4) { index in
      for _ in 0..<2000 {
        if index == 0 {
          _ = lock.acquireWrite()
          if writers.add(1) != 1 || readers.value != 0 { wrong.add(1) }
          writers.add(-1)
          lock.releaseWrite()
        } else {
          _ = lock.acquireRead()
          readers.add(1)
          if writers.value != 0 { wrong.add(1) }
          readers.add(-1)
          lock.releaseRead()
        }
      }
    }
    #expect(wrong.value == 0)
  }

  @Test func locksAreTakenOnceInAddressOrder() {
    let locks = (0..<8).map { _ in ReadWriteSemaphore() }
    let order = LockOrder()
    for lock in locks.shuffled() + locks.shuffled() { order.register(lock) }
    let addresses = order.distinct.map { UInt(bitPattern: Unmanaged.passUnretained($0).toOpaque()) }
    #expect(addresses.count == 8)
    #expect(addresses == addresses.sorted())
  }

  /// Interrupted at the third of four: the first two are free again, and nothing else was touched.
  @Test func interruptionReleasesTakenLocks() async throws {
    let order = LockOrder()
    for _ in 0..<4 { order.register(ReadWriteSemaphore()) }
    let locks = order.distinct
    let cancellation = WaitCancellation()
    let isHeld = Counter()
    let isOver = Counter()
    await onThreads(2) { index in
      if index == 0 {
        #expect(locks[2].acquireRead() == 0)
        isHeld.add(1)
        cancellation.cancel()
        while isOver.value == 0 { sched_yield() }
        locks[2].releaseRead()
      } else {
        while isHeld.value == 0 { sched_yield() }
        switch order.withAll(cancelledBy: cancellation, {}) {
        case .success: Issue.record("it was not interrupted")
        case .failure(let error): #expect(error.errno == EINTR)
        }
        for lock in locks[..<2] {
          #expect(lock.acquireWrite() == 0)
          lock.releaseWrite()
        }
        isOver.add(1)
      }
    }
    let isFree = Counter()
    if case .success = order.withAll({ isFree.add(1) }) {} else { Issue.record("a lock was left behind") }
    #expect(isFree.value == 1)
  }

  /// Two unloads take the same locks, which were registered in opposite orders.
  @Test(.exclusive) func sortedLocksDoNotDeadlock() async {
    let first = ReadWriteSemaphore(), second = ReadWriteSemaphore()
    let orders = [LockOrder(), LockOrder()]
    for lock in [first, second] { orders[0].register(lock) }
    for lock in [second, first] { orders[1].register(lock) }
    await onThreads(2) { index in
      for _ in 0..<2000 { _ = orders[index].withAll {} }
    }
    // The mutant: in the order of registration. Each has one and wants the other; an interruption
    // tells.
    let cancellation = WaitCancellation()
    let have = Counter()
    let interrupted = Counter()
    await onThreads(2) { index in
      let mine = index == 0 ? first : second
      let other = index == 0 ? second : first
      _ = mine.acquireWrite()
      have.add(1)
      while have.value < 2 { sched_yield() }
      cancellation.cancel()
      if other.acquireWrite(cancelledBy: cancellation) == EINTR {
        interrupted.add(1)
      } else {
        other.releaseWrite()
      }
      mine.releaseWrite()
    }
    #expect(interrupted.value >= 1)
  }

  /// A thread that has passed the write side knows that present readers came after it, and see what
  /// was written before.
  @Test(.exclusive) func writeSideWaitsForReaders() async {
    let lock = BigReaderLock()
    let published = Counter()
    let isInUse = Counter()
    let wrong = Counter()
    let isOver = Counter()
    await onThreads(3) { index in
      if index == 0 {
        for round in 1...500 {
          published.add(1)
          lock.passWrite()
          // No reader of the old number is still using it.
          if isInUse.value != 0 && isInUse.value < round { wrong.add(1) }
        }
        isOver.add(1)
      } else if index == 1 {
        while isOver.value == 0 {
          let slot = lock.enterRead()
          let number = published.value
          isInUse.add(number)
          sched_yield()
          // Again, while a writer may be waiting for the first.
          let inner = lock.enterRead()
          isInUse.add(-number)
          lock.leaveRead(inner)
          lock.leaveRead(slot)
        }
      } else {
        while isOver.value == 0 { lock.leaveRead(lock.enterRead()) }
      }
    }
    #expect(wrong.value == 0)
  }

  /// The store buffer: a reader stores that it reads, and loads whether a writer writes; a writer
  /// stores that it writes, and loads whether a reader reads. Without a full fence between store
  /// and load on each side, both may load too early.
  @Test(
    .exclusive, .enabled(if: Affinity.processors.count > 1, "one processor sees its own stores"),
    arguments: [true, false])
  func withoutTheFenceReaderAndWriterMissEachOther(_ hasFence: Bool) async {
    let words = Shared(SideBySide())
    let limit = hasFence ? 200_000 : 20_000_000
    await onThreads(2) { index in
      Affinity.keep(index)
      let (mine, other) =
        index == 0 ? (words.value.reads, words.value.writes) : (words.value.writes, words.value.reads)
      for round in 1...limit {
        // Both at once.
        words.value.arrived.add(1, ordering: .sequentiallyConsistent)
        while words.value.arrived.load(ordering: .acquiring) < round * 2 {}
        mine.pointee.store(round, ordering: .relaxed)
        if hasFence { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        if other.pointee.load(ordering: .relaxed) < round {
          words.value.missed.add(1, ordering: .sequentiallyConsistent)
        }
        words.value.left.add(1, ordering: .sequentiallyConsistent)
        while words.value.left.load(ordering: .acquiring) < round * 2 {}
        let isSeen = words.value.missed.load(ordering: .relaxed) == 2
        // Both have read it before either goes on.
        words.value.looked.add(1, ordering: .sequentiallyConsistent)
        while words.value.looked.load(ordering: .acquiring) < round * 2 {}
        if isSeen { return }
        words.value.missed.store(0, ordering: .relaxed)
      }
    }
    let bothMissed = words.value.missed.load(ordering: .relaxed) == 2
    #expect(bothMissed == !hasFence)
  }

  @Test func baseIsReleasedOnlyWhenUnused() {
    let count = BaseCount()
    #expect(count.get())
    #expect(!count.releaseBaseIfUnused())
    #expect(count.users == 1)
    count.put()
    #expect(count.releaseBaseIfUnused())
    #expect(!count.get(), "zero is final")
    count.restoreBase()
    #expect(count.get())
    count.put()
    #expect(count.users == 0)
  }
}

/// Two words in cache lines of their own, and what keeps two threads in step.
private struct SideBySide: ~Copyable, @unchecked Sendable {
  // Unchecked: what is behind the pointers is atomic.
  let reads: UnsafeMutablePointer<Atomic<Int>>
  let writes: UnsafeMutablePointer<Atomic<Int>>
  let arrived = Atomic(0)
  let left = Atomic(0)
  let looked = Atomic(0)
  let missed = Atomic(0)

  init() {
    func word() -> UnsafeMutablePointer<Atomic<Int>> {
      let bytes = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 128)
      let word = bytes.bindMemory(to: Atomic<Int>.self, capacity: 1)
      word.initialize(to: Atomic(0))
      return word
    }
    (reads, writes) = (word(), word())
  }

  deinit {
    reads.deallocate()
    writes.deallocate()
  }
}
