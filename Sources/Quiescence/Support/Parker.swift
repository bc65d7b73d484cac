internal import Synchronization
internal import _QuiescenceShims

/// A one-shot event that threads wait for on a futex.
package final class Parker: Sendable {
  /// On the heap, because the kernel needs a stable address.
  private nonisolated(unsafe) let word: UnsafeMutablePointer<Atomic<UInt32>>

  package init() {
    word = .allocate(capacity: 1)
    word.initialize(to: Atomic(0))
  }

  deinit {
    word.deinitialize(count: 1)
    word.deallocate()
  }

  /// Lets every present and future waiter pass.
  package func open() {
    // Release: waiters that pass see what the opener wrote before.
    word.pointee.store(1, ordering: .releasing)
    qs_futex_wake_all(word)
  }

  package var isOpen: Bool { word.pointee.load(ordering: .acquiring) != 0 }

  /// Blocks until ``open()``, or for at most `limit`. Returns whether it was opened.
  @discardableResult
  package func wait(for limit: Duration? = nil) -> Bool {
    let deadline = limit.map { ContinuousClock.now + $0 }
    while !isOpen {
      var nanoseconds: Int64 = -1
      if let deadline {
        let left = ContinuousClock.now.duration(to: deadline)
        if left <= .zero { return isOpen }
        nanoseconds = left.nanoseconds
      }
      // The kernel compares the word again under its own lock. If `open` comes between the test
      // above and the sleep, the word has changed and the thread does not sleep.
      _ = qs_futex_wait(word, 0, nanoseconds)
    }
    return true
  }
}

extension Duration {
  /// Whole nanoseconds; at most 292 years.
  package var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : scaled.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
  }
}
