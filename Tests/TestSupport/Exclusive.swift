import Synchronization
package import Testing

/// Runs one exclusive test at a time.
///
/// For tests that keep every processor busy. Run in parallel, they would wait for each other's time
/// slices at every grace period, and test nothing more.
package struct Exclusive: TestTrait, SuiteTrait, TestScoping {
  package var isRecursive: Bool { true }

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    // A suite has no case of its own; its tests wait for their turns one by one.
    if testCase == nil { return try await function() }
    await Self.turn.take()
    defer { Self.turn.give() }
    try await function()
  }

  private static let turn = Turn()
}

extension Trait where Self == Exclusive {
  /// See ``Exclusive``.
  package static var exclusive: Self { Exclusive() }
}

/// A lock that a task may hold across suspensions; first come, first served.
private final class Turn: Sendable {
  private let state = Mutex((isTaken: false, waiting: [CheckedContinuation<Void, Never>]()))

  func take() async {
    await withCheckedContinuation { continuation in
      let isMine = state.withLock { state in
        if state.isTaken {
          state.waiting.append(continuation)
          return false
        }
        state.isTaken = true
        return true
      }
      if isMine { continuation.resume() }
    }
  }

  func give() {
    let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
      if state.waiting.isEmpty {
        state.isTaken = false
        return nil
      }
      return state.waiting.removeFirst()
    }
    next?.resume()
  }
}
