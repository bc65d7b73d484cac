internal import Quiescence

/// A change of a module's state.
public struct ModuleEvent: Hashable, Sendable, CustomStringConvertible {
  /// The module's name.
  public let module: String
  /// The state it is in now.
  public let state: ModuleState
  /// The state it was in before.
  public let previous: ModuleState
  /// How long it was in that state.
  public let duration: Duration
  /// Why it came to this state, where that is no matter of course: the error of its `init` or
  /// `exit`, the users of it when an unload was given up, why its image stays mapped.
  public let reason: String?
  /// The error number of the reason, as in `errno(3)`.
  public let errno: Int32?
  /// The version in the module's description.
  public let version: String?
  /// The file that it was loaded from; empty for a built-in module.
  public let path: String
  /// The addresses of its image; nil before it is mapped, and for a built-in module. In an event of
  /// ``ModuleState/gone``, where it was.
  public let addresses: Range<UInt>?

  /// Such as `counter 1.2 is cleanup after 12 ms in going: its exit refused (EBUSY)`.
  public var description: String {
    let subject = version.map { "\(module) \($0)" } ?? module
    let time = duration.nanoseconds / 1_000_000
    let why = reason.map { ": \($0)" } ?? ""
    let number = errno.map { " (\(errnoName($0)))" } ?? ""
    return "\(subject) is \(state) after \(time) ms in \(previous)\(why)\(number)"
  }
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
