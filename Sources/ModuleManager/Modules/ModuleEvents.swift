internal import Quiescence

/// A change of a module's state.
public struct ModuleEvent: Hashable, Sendable {
  /// The module's name.
  public let module: String
  /// The state it is in now.
  public let state: ModuleState
}

/// All changes of state of a manager's modules, in order, from the moment of subscribing on.
///
/// Events are kept until they are read: end the iteration, or release the sequence, when you no
/// longer need it.
public struct ModuleEvents: AsyncSequence, Sendable {
  let stream: AsyncStream<ModuleEvent>

  /// Starts with the first event that was not read yet.
  public func makeAsyncIterator() -> AsyncStream<ModuleEvent>.Iterator {
    stream.makeAsyncIterator()
  }
}

/// The subscribers to a manager's events.
final class EventSource: Sendable {
  private struct State {
    var listeners: [Int: AsyncStream<ModuleEvent>.Continuation] = [:]
    var lastID = 0
  }

  private let state = Locked(State())

  func subscribe() -> ModuleEvents {
    let (stream, continuation) = AsyncStream.makeStream(of: ModuleEvent.self)
    let id = state.withLock { state in
      state.lastID += 1
      state.listeners[state.lastID] = continuation
      return state.lastID
    }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { $0.listeners[id] = nil }
    }
    return ModuleEvents(stream: stream)
  }

  func send(_ event: ModuleEvent) {
    let listeners = state.withLock { Array($0.listeners.values) }
    for listener in listeners { listener.yield(event) }
  }

  deinit {
    for listener in state.withLock({ $0.listeners.values }) { listener.finish() }
  }
}
