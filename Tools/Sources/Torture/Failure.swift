import Synchronization

/// The kinds of failure. Each has a counter that must stay zero.
public enum Failure: String, CaseIterable, Codable, Sendable {
  /// At the end of its section, a reader held an element that was older than 1: a grace period had
  /// ended although the reader was inside.
  case overtaken
  /// More than one grace period ended inside one section.
  case batchErrors = "batch_errors"
  /// A grace period ended while a section was open that was open when the wait began.
  case sectionErrors = "section_errors"
  /// A reader found an element without the contents that were written before it was published.
  case publicationErrors = "mb_errors"
  /// An element that a reader held was freed or reused before the reader's section ended.
  case usedAfterFree = "use_after_free"
  /// A polled grace period had elapsed too early, or had not elapsed when it must have.
  case pollErrors = "poll_errors"
  /// A callback ran before its grace period had ended.
  case earlyCallbacks = "early_callbacks"
  /// A callback ran twice.
  case duplicateCallbacks = "duplicate_callbacks"
  /// A callback never ran.
  case lostCallbacks = "lost_callbacks"
  /// An element never came back to its pool.
  case lostElements = "lost_elements"
  /// A barrier returned before callbacks that were retired earlier had run.
  case barrierErrors = "barrier_errors"
  /// A child of fork hung or failed.
  case forkFailures = "fork_failures"
  /// A thread waited for too long.
  case hangs
}

/// Counts failures, and keeps the description of the first.
final class FailureLog: Sendable {
  private let counts: AtomicRow
  private let total = Atomic<Int>(0)
  private let firstWords = Mutex<String?>(nil)

  init() {
    counts = AtomicRow(Failure.allCases.count)
  }

  /// Any thread.
  func record(_ failure: Failure, count: Int = 1, _ words: @autoclosure () -> String) {
    if count <= 0 { return }
    counts.add(count, at: Self.place[failure]!)
    if total.add(count, ordering: .relaxed).oldValue == 0 {
      let words = "\(failure.rawValue): \(words())"
      firstWords.withLock { $0 = $0 ?? words }
    }
  }

  var hasAny: Bool { total.load(ordering: .relaxed) > 0 }

  /// The sum of all counters.
  var sum: Int { total.load(ordering: .relaxed) }

  /// The description of the first failure.
  var first: String? { firstWords.withLock { $0 } }

  subscript(failure: Failure) -> Int { counts[Self.place[failure]!] }

  /// Not nil below: every case has a place.
  private static let place = Dictionary(
    uniqueKeysWithValues: Failure.allCases.enumerated().map { ($1, $0) })
}
