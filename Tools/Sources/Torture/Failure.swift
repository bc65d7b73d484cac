import Synchronization

/// The ways to fail. Each is a counter that must stay zero.
public enum Failure: String, CaseIterable, Codable, Sendable {
  /// A reader met an element that a grace period had made older than 1 inside the reader's section.
  case overtaken
  /// More than one grace period ended inside one section.
  case batchErrors = "batch_errors"
  /// A grace period ended while a section was open that was open when it was asked for.
  case sectionErrors = "section_errors"
  /// A reader found an element without the contents that were written before it was published.
  case publicationErrors = "mb_errors"
  /// What a reader held was freed or used again before its section ended.
  case usedAfterFree = "use_after_free"
  /// A polled grace period had elapsed too early, or not when it must have.
  case pollErrors = "poll_errors"
  /// A callback ran before its grace period was over.
  case earlyCallbacks = "early_callbacks"
  /// A callback ran twice.
  case duplicateCallbacks = "duplicate_callbacks"
  /// A callback never ran.
  case lostCallbacks = "lost_callbacks"
  /// An element never came back.
  case lostElements = "lost_elements"
  /// A barrier returned before what was retired earlier had run.
  case barrierErrors = "barrier_errors"
  /// A child of fork hung or failed.
  case forkFailures = "fork_failures"
  /// Somebody waited without an end in sight.
  case hangs
}

/// Counts failures, and keeps the words of the first.
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

  /// All of them together.
  var sum: Int { total.load(ordering: .relaxed) }

  /// What the first one was about.
  var first: String? { firstWords.withLock { $0 } }

  subscript(failure: Failure) -> Int { counts[Self.place[failure]!] }

  /// Every case has a place.
  private static let place = Dictionary(
    uniqueKeysWithValues: Failure.allCases.enumerated().map { ($1, $0) })
}
