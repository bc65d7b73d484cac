import Bigref
import CControl
import ControlProtocol
import Foundation
import ModuleFiles
import Synchronization

/// One client's conversation: answers its requests and owns the objects that it opened.
///
/// One thread at a time answers. Any thread may call ``hangUp()`` meanwhile.
final class Session {
  /// What a client may ask for.
  enum Access {
    /// Everything.
    case control
    /// What changes nothing.
    case readOnly
  }

  private let service: any ControlService
  private let holder: String
  private let socket: Int32
  private let access: Access
  private let current: CurrentRequest
  private let objects = ObjectTable()
  private var trace: (any ControlTrace)?
  private let decoder = Wire.decoder()
  private let encoder = Wire.encoder()

  /// The longest limit of a request, in seconds.
  static let longestWait = 1e9

  /// The most bytes that one `read` returns.
  static let readLimit = 32_768

  /// - Parameters:
  ///   - holder: what a busy module is reported to be held by.
  ///   - socket: hangs up when the client goes; -1 when there is none to watch.
  init(service: any ControlService, holder: String, socket: Int32, access: Access = .control) {
    self.service = service
    self.holder = holder
    self.socket = socket
    self.access = access
    current = CurrentRequest()
  }

  deinit {
    end()
  }

  /// Whether the client has no object open: then the server does not wait for its next request
  /// without a limit.
  var isIdle: Bool { objects.isEmpty }

  /// Ends the request that is under way, and closes the objects: the client has gone. Any thread,
  /// any number of times, also after the session has ended.
  var hangUp: @Sendable () -> Void {
    let (current, objects) = (current, objects)
    return {
      current.end()
      objects.end()
    }
  }

  /// Closes every object, and stops following events.
  func end() {
    hangUp()
    trace?.stop()
    trace = nil
  }

  /// The reply to one line, whatever the line is; nil when the client went before there was one.
  func answer(_ line: Data) -> Data? {
    do throws(ControlError) {
      return try perform(try Request(parsing: line, with: decoder))
    } catch {
      return current.isEnded ? nil : refusal(error)
    }
  }

  /// A reply that refuses.
  func refusal(_ error: ControlError) -> Data {
    encode(Reply<EmptyReply>.refusal(error))
  }

  private func perform(_ request: Request) throws(ControlError) -> Data? {
    if access == .readOnly && !request.isReadOnly {
      throw ControlError(EPERM, "this control socket is read-only")
    }
    switch request {
    case .insmod(let module, let parameters, let seconds):
      return success(
        try limited(to: seconds, module) { end throws(ControlError) in
          try service.insmod(module, parameters: parameters, end)
        })
    case .rmmod(let unload): return try rmmod(unload)
    case .replace(let new):
      return success(
        try limited(to: new.seconds, new.module) { end throws(ControlError) in
          try service.replace(new.module, with: new.path, parameters: new.parameters, end)
        })
    case .request(let load):
      return success(
        try limited(to: load.seconds, load.module) { end throws(ControlError) in
          try service.request(
            load.module, parameters: load.parameters, firstTime: load.firstTime, dryRun: load.dryRun, end)
        })
    case .remove(let removal):
      return success(
        try limited(to: removal.seconds, removal.module) { end throws(ControlError) in
          try service.remove(removal.module, firstTime: removal.firstTime, dryRun: removal.dryRun, end)
        })
    case .cancel(let module):
      let count = try service.cancel(module)
      if count == 0 { throw ControlError(ENOENT, "\(module): no request for it is under way") }
      return success(CancelReply(module: module, cancelled: count))
    case .configuration: return success(ConfigurationReply(modules: service.configuration()))
    case .parameters(let module):
      return success(ParametersReply(parameters: try service.parameters(of: module)))
    case .set(let parameter, let module, let value, let seconds):
      try limited(to: seconds, module) { end throws(ControlError) in
        try service.set(parameter, of: module, to: value, end)
      }
      return success(EmptyReply())
    case .lsmod: return success(ModulesReply(modules: service.lsmod()))
    case .unloaded: return success(UnloadedReply(unloaded: service.unloaded()))
    case .stat: return success(StatisticsReply(statistics: service.stat()))
    case .objects: return success(ObjectsReply(objects: service.objects()))
    case .open(let object):
      return success(
        try objects.add(object) { () throws(ControlError) in try service.open(object, holder: holder) })
    case .read(let handle, let offset):
      let bytes = try objects.read(handle, from: offset, upTo: Self.readLimit)
      return success(ReadReply(data: Data(bytes)))
    case .close(let handle):
      try objects.close(handle)
      return success(EmptyReply())
    case .trace(let trace): return try follow(trace)
    }
  }

  private func success<Body: Encodable>(_ body: Body) -> Data {
    encode(Reply.success(body))
  }

  private func encode<Body: Encodable>(_ reply: Reply<Body>) -> Data {
    // Replies hold strings and finite numbers; the fallback keeps the conversation in step all the
    // same.
    (try? encoder.encode(reply))
      ?? Data(#"{"ok":false,"errno":"EIO","message":"the reply cannot be encoded"}"#.utf8)
  }
}

// MARK: - Requests that may take long

extension Session {
  private func rmmod(_ unload: Request.Unload) throws(ControlError) -> Data? {
    let modules = unload.modules
    let keys = Set(modules.map(ModuleName.key))
    // A forced unload closes the object.
    let waits = unload.policy == .wait || unload.policy == .whenIdle
    if waits, let own = objects.module(where: { keys.contains(ModuleName.key($0)) }) {
      throw ControlError(EDEADLK, "\(own): this connection holds an object of it open itself")
    }
    return try limited(to: unload.seconds, modules.joined(separator: ", ")) { end throws(ControlError) in
      if unload.isTogether {
        return success(UnloadsReply(unloads: try service.rmmod(together: modules, unload.policy, end)))
      }
      return success(try service.rmmod(modules.first ?? "", unload.policy, end))
    }
  }

  /// Runs `body` with an end that the limit of the request and the end of its client give.
  private func limited<Result>(
    to seconds: Double?, _ subject: String, _ body: (RequestEnd) throws(ControlError) -> Result
  ) throws(ControlError) -> Result {
    if let seconds, !(seconds >= 0 && seconds <= Self.longestWait) {
      throw ControlError(EINVAL, "\(subject): a wait is from 0 to \(Int(Self.longestWait)) seconds")
    }
    let end = RequestEnd(after: seconds.map { .seconds($0) }, cancellation: current.begin())
    defer { current.finish() }
    return try body(end)
  }
}

/// The request that a client's thread carries out, for the thread that learns of the client's end.
private final class CurrentRequest: Sendable {
  private struct State {
    var cancellation: WaitCancellation?
    var isEnded = false
  }

  private let state = Mutex(State())

  /// The cancellation of the request that begins now; cancelled already when the client has gone.
  func begin() -> WaitCancellation {
    let cancellation = WaitCancellation()
    let isEnded = state.withLock { state in
      state.cancellation = cancellation
      return state.isEnded
    }
    if isEnded { cancellation.cancel() }
    return cancellation
  }

  func finish() { state.withLock { $0.cancellation = nil } }

  var isEnded: Bool { state.withLock { $0.isEnded } }

  func end() {
    let cancellation = state.withLock { state in
      state.isEnded = true
      return state.cancellation
    }
    // Not under the lock: it calls the manager.
    cancellation?.cancel()
  }
}

// MARK: - Tracing

extension Session {
  /// The most events of one reply.
  static let traceLimit = 1000

  /// How many events are kept for a client that does not say.
  static let traceCapacity = 16_384

  /// The most events that are kept: followers share one ring, of about 280 bytes an event.
  static let longestTrace = 65_536

  /// How long a reply waits for its first event, in milliseconds.
  static let traceWait = 1000

  /// The first request switches tracing on and is answered at once: what happens after the reply is
  /// recorded. Later ones wait for something to tell, for a while.
  private func follow(_ request: Request.Trace) throws(ControlError) -> Data? {
    let seconds = request.seconds ?? 1
    if !(seconds >= 0) { throw ControlError(EINVAL, "a trace waits for 0 seconds or more") }
    let capacity = request.capacity ?? Self.traceCapacity
    if !(1...Self.longestTrace).contains(capacity) {
      throw ControlError(EINVAL, "a trace keeps from 1 to \(Self.longestTrace) events")
    }
    let filter = request.filter
    if let least = filter.seconds, !(least >= 0 && least <= 1e9) {
      throw ControlError(EINVAL, "a trace is of what took from 0 to 1000000000 seconds, or longer")
    }
    guard let trace else {
      let trace = try service.trace(capacity: capacity, filter)
      self.trace = trace
      return success(trace.read(upTo: 0))
    }
    let deadline = ContinuousClock.now + .milliseconds(min(seconds * 1000, Double(Self.traceWait)))
    while true {
      let all = trace.read(upTo: Self.traceLimit)
      let isOver = ContinuousClock.now >= deadline
      if !all.events.isEmpty || all.lost > 0 || isOver { return success(all) }
      // Recording wakes no thread, so the reader looks again and again.
      if control_hangup(socket, 10) != 0 { return nil }
    }
  }
}
