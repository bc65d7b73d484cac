import Synchronization

/// The waits in progress, for the watchdog.
final class WaitBoard: Sendable {
  /// A number for each waiter, odd while it waits.
  private let numbers: AtomicRow
  private let ways: AtomicRow
  /// How often each way of waiting was completed.
  private let done = AtomicRow(Way.allCases.count)
  let names: [String]

  init(names: [String]) {
    self.names = names
    numbers = AtomicRow(names.count)
    ways = AtomicRow(names.count)
  }

  /// The waiter calls this before a wait that must end.
  func begin(_ waiter: Int, _ way: Way) {
    ways.add(way.place - ways[waiter], at: waiter)
    numbers.add(at: waiter)
  }

  func end(_ waiter: Int, _ way: Way) {
    numbers.add(at: waiter)
    done.add(at: way.place)
  }

  /// Counts a use that does not wait.
  func count(_ way: Way) { done.add(at: way.place) }

  /// The waiter's number, odd while it waits.
  func number(_ waiter: Int) -> Int { numbers[waiter] }

  /// The way of the current wait, or of the last one.
  func way(_ waiter: Int) -> Way { Way.allCases[ways[waiter]] }

  /// How often each way was used.
  var uses: [String: Int] {
    Dictionary(uniqueKeysWithValues: Way.allCases.map { ($0.rawValue, done[$0.place]) })
  }
}

/// The library's ways to wait for grace periods.
enum Way: String, CaseIterable {
  case synchronize
  case asyncSynchronize = "async_synchronize"
  /// Tests a polled grace period until it has elapsed.
  case poll
  case pollWait = "poll_wait"
  case asyncPoll = "async_poll"
  /// Many elements at a time, each with a polled grace period of its own.
  case pollMany = "poll_many"
  case retireClosure = "retire_closure"
  case retireObject = "retire_object"
  case retireFunction = "retire_function"
  /// Waits for one callback. Nothing else wakes the reclaimer for it.
  case retireAndWait = "retire_and_wait"
  case barrier
  case asyncBarrier = "async_barrier"
  /// Takes the old value of a box.
  case take
  case asyncTake = "async_take"

  /// The index in `allCases`.
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
