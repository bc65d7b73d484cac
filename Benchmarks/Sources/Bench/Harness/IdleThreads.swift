import CPeers
import Foundation
import Synchronization

/// Threads that are registered and asleep.
final class IdleThreads {
  private let latch = Latch()
  private var threads: [Thread] = []

  /// Returns after each thread has run `enter`. Each runs `leave` at the end.
  init(_ count: Int, enter: @escaping @Sendable () -> Void, leave: @escaping @Sendable () -> Void) throws {
    let entered = Entered(count)
    do {
      for _ in 0..<count {
        threads.append(
          try Thread { [latch] in
            enter()
            entered.one()
            _ = latch.wait()
            leave()
          })
      }
    } catch {
      end()
      throw error
    }
    entered.wait()
  }

  func end() {
    latch.open()
    for thread in threads { thread.join() }
    threads = []
  }

  private final class Entered: Sendable {
    private let left: Counter
    private let latch = Latch()

    init(_ count: Int) {
      left = Counter(count)
      if count == 0 { latch.open() }
    }

    func one() { if left.add(-1) == 0 { latch.open() } }

    func wait() { _ = latch.wait() }
  }
}

extension IdleThreads {
  /// Readers of one contender that have read and now do nothing.
  convenience init(_ count: Int, of contender: Contender) throws {
    try self.init(
      count,
      enter: {
        contender.begin()
        _ = contender.read(0, 1)
        contender.rest()
      },
      leave: {
        contender.wake()
        contender.end()
      })
  }
}

/// Threads that read as fast as they can until they are ended, each on one processor, or where the
/// system puts them.
final class BusyReaders {
  private let isOver = Counter()
  private let figures = Figures()
  private var threads: [Thread] = []

  /// The first reader runs on the second processor: the first processor is for the thread that is
  /// measured. Without `processors` no reader is pinned.
  init(_ count: Int, of contender: Contender, on processors: [Int32]?) throws {
    let started = Counter()
    for index in 0..<count {
      threads.append(
        try Thread { [isOver, figures] in
          if let processors { _ = peer_pin(processors[(index + 1) % processors.count]) }
          contender.begin()
          started.add()
          let before = peer_thread_nanoseconds()
          var reads: UInt64 = 0
          while isOver.value == 0 {
            _ = contender.read(0, 256)
            reads += 256
          }
          let figure = Double(peer_thread_nanoseconds() - before) / Double(reads)
          contender.end()
          figures.all.withLock { $0.append(figure) }
        })
    }
    while started.value < count { sched_yield() }
  }

  /// Returns the nanoseconds of processor time per read, as the mean of the threads. Nil if there
  /// were none.
  @discardableResult
  func end() -> Double? {
    isOver.add()
    for thread in threads { thread.join() }
    threads = []
    return figures.all.withLock { $0.isEmpty ? nil : $0.reduce(0, +) / Double($0.count) }
  }

  private final class Figures: Sendable {
    let all = Mutex<[Double]>([])
  }
}
