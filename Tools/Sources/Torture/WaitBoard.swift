import Synchronization

/// Who waits, and for what: what the watchdog looks at.
final class WaitBoard: Sendable {
  /// Each waiter's number, odd while it waits.
  private let numbers: AtomicRow
  private let ways: AtomicRow
  /// How often each way of waiting came to its end.
  private let done = AtomicRow(Way.allCases.count)
  let names: [String]

  init(names: [String]) {
    self.names = names
    numbers = AtomicRow(names.count)
    ways = AtomicRow(names.count)
  }

  /// By the waiter alone, around something that must come to an end.
  func begin(_ waiter: Int, _ way: Way) {
    ways.add(way.place - ways[waiter], at: waiter)
    numbers.add(at: waiter)
  }

  func end(_ waiter: Int, _ way: Way) {
    numbers.add(at: waiter)
    done.add(at: way.place)
  }

  /// One that waits for nothing, but counts.
  func count(_ way: Way) { done.add(at: way.place) }

  /// Odd while it waits.
  func number(_ waiter: Int) -> Int { numbers[waiter] }

  /// What it waits for, or has waited for last.
  func way(_ waiter: Int) -> Way { Way.allCases[ways[waiter]] }

  /// How often each was used.
  var uses: [String: Int] {
    Dictionary(uniqueKeysWithValues: Way.allCases.map { ($0.rawValue, done[$0.place]) })
  }
}

/// The ways to wait for grace periods that the library has.
enum Way: String, CaseIterable {
  case synchronize
  case asyncSynchronize = "async_synchronize"
  /// Asks a polled grace period until it has elapsed.
  case poll
  case pollWait = "poll_wait"
  case asyncPoll = "async_poll"
  /// Elements with polled grace periods of their own, many at a time.
  case pollMany = "poll_many"
  case retireClosure = "retire_closure"
  case retireObject = "retire_object"
  case retireFunction = "retire_function"
  /// A callback that says when it has run: nothing else wakes the reclaimer for it.
  case retireAndWait = "retire_and_wait"
  case barrier
  case asyncBarrier = "async_barrier"
  /// The old value of a box.
  case take
  case asyncTake = "async_take"

  /// Its place in `allCases`.
  var place: Int { Self.places[self]! }
  private static let places = Dictionary(uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })

  var words: String {
    switch self {
    case .synchronize: "synchronize()"
    case .asyncSynchronize: "await synchronize()"
    case .poll: "isElapsed"
    case .pollWait: "GracePeriod.wait()"
    case .asyncPoll: "await elapsed()"
    case .pollMany: "isElapsed of many"
    case .retireClosure: "retire of a closure"
    case .retireObject: "retire of an object"
    case .retireFunction: "unsafeRetire"
    case .retireAndWait: "retire until it has run"
    case .barrier: "barrier()"
    case .asyncBarrier: "await barrier()"
    case .take: "Retired.take()"
    case .asyncTake: "await take()"
    }
  }
}
