import CControl
import Foundation
import Synchronization

/// One client's conversation: answers its requests and owns the objects that it opened.
///
/// One thread at a time; `deinit` and ``end()`` close what is still open.
final class Session {
  private let service: any ControlService
  private let holder: String
  private let socket: Int32
  private var objects: [Int: any ControlObject] = [:]
  private var lastHandle = 0
  private var trace: (any ControlTrace)?
  private let decoder = JSONDecoder()
  private let encoder = JSONEncoder()

  /// The most objects that one client holds open at a time.
  static let objectLimit = 64

  /// The longest wait for users that has an end, in seconds.
  static let longestWait = 1e9

  /// The most bytes that one `read` returns.
  static let readLimit = 32_768

  /// - Parameters:
  ///   - holder: what a busy module is reported to be held by.
  ///   - socket: hangs up when the client goes; -1 when there is none to watch.
  init(service: any ControlService, holder: String, socket: Int32) {
    self.service = service
    self.holder = holder
    self.socket = socket
    // Sorted: the same reply is the same line.
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  }

  deinit {
    end()
  }

  /// Closes every object, and follows nothing any more.
  func end() {
    for object in objects.values { object.close() }
    objects.removeAll()
    trace?.stop()
    trace = nil
  }

  /// The reply to one line, whatever the line is; nil when the client went before there was one.
  func answer(_ line: Data) -> Data? {
    do throws(ControlError) {
      return try perform(try Request(parsing: line, with: decoder))
    } catch {
      return refusal(error)
    }
  }

  /// A reply that refuses.
  func refusal(_ error: ControlError) -> Data {
    encode(Reply<EmptyReply>.refusal(error))
  }

  private func perform(_ request: Request) throws(ControlError) -> Data? {
    switch request.verb {
    case "insmod":
      return success(
        try service.insmod(
          try request.required(\.module, named: "module"), parameters: request.parameters ?? [:]))
    case "rmmod":
      if let modules = request.modules { return try rmmod(modules, request) }
      return try rmmod(try request.required(\.module, named: "module"), request)
    case "request":
      return success(
        try service.request(
          try request.required(\.module, named: "module"), parameters: request.parameters ?? [:],
          firstTime: request.firstTime ?? false,
          dryRun: request.dryRun ?? false))
    case "remove":
      return success(
        try service.remove(
          try request.required(\.module, named: "module"), firstTime: request.firstTime ?? false,
          dryRun: request.dryRun ?? false))
    case "configuration": return success(ConfigurationReply(modules: service.configuration()))
    case "parameters":
      let module = try request.required(\.module, named: "module")
      return success(ParametersReply(parameters: try service.parameters(of: module)))
    case "set":
      try service.set(
        try request.required(\.parameter, named: "parameter"),
        of: try request.required(\.module, named: "module"),
        to: try request.required(\.value, named: "value"))
      return success(EmptyReply())
    case "lsmod": return success(ModulesReply(modules: service.lsmod()))
    case "unloaded": return success(UnloadedReply(unloaded: service.unloaded()))
    case "stat": return success(StatisticsReply(statistics: service.stat()))
    case "objects": return success(ObjectsReply(objects: service.objects()))
    case "open": return success(try open(try request.required(\.object, named: "object")))
    case "read":
      let object = try object(try request.required(\.handle, named: "handle"))
      let bytes = try object.read(from: request.offset ?? 0, upTo: Self.readLimit)
      return success(ReadReply(data: Data(bytes)))
    case "trace": return try follow(request)
    case "close":
      let handle = try request.required(\.handle, named: "handle")
      try object(handle).close()
      objects[handle] = nil
      return success(EmptyReply())
    default:
      throw ControlError(ENOSYS, "\(request.verb.prefix(40)): no such request")
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

// MARK: - Objects

extension Session {
  private func open(_ name: String) throws(ControlError) -> OpenReply {
    if objects.count == Self.objectLimit {
      throw ControlError(EMFILE, "\(name): this connection holds \(Self.objectLimit) objects")
    }
    let object = try service.open(name, holder: holder)
    lastHandle += 1
    objects[lastHandle] = object
    return OpenReply(handle: lastHandle, module: object.module)
  }

  private func object(_ handle: Int) throws(ControlError) -> any ControlObject {
    guard let object = objects[handle] else {
      throw ControlError(EBADF, "\(handle): no such handle on this connection")
    }
    return object
  }
}

// MARK: - Tracing

extension Session {
  /// The most events of one reply.
  static let traceLimit = 1000

  /// How many events are kept for a client that does not say.
  static let traceCapacity = 16_384

  /// How long a reply waits for its first event, in milliseconds.
  static let traceWait = 1000

  /// The first request switches tracing on and is answered at once: what happens after the reply is
  /// recorded. Later ones wait for something to tell, for a while.
  private func follow(_ request: Request) throws(ControlError) -> Data? {
    let seconds = request.seconds ?? 1
    if !(seconds >= 0) { throw ControlError(EINVAL, "a trace waits for 0 seconds or more") }
    let capacity = request.capacity ?? Self.traceCapacity
    if !(1...(1 << 20)).contains(capacity) {
      throw ControlError(EINVAL, "a trace keeps from 1 to \(1 << 20) events")
    }
    guard let trace else {
      let trace = service.trace(capacity: capacity)
      self.trace = trace
      return success(trace.read(upTo: 0))
    }
    let modules = request.modules.map(Set.init)
    let deadline = ContinuousClock.now + .milliseconds(min(seconds * 1000, Double(Self.traceWait)))
    while true {
      let all = trace.read(upTo: Self.traceLimit)
      let events = modules.map { modules in all.events.filter { modules.contains($0.module) } } ?? all.events
      let isOver = ContinuousClock.now >= deadline
      if !events.isEmpty || all.lost > 0 || isOver {
        return success(TraceReply(events: events, lost: all.lost, now: all.now, process: all.process))
      }
      // A thread that records wakes no thread, so this one has to look.
      if control_hangup(socket, all.events.isEmpty ? 10 : 0) != 0 { return nil }
    }
  }
}

// MARK: - Unloading

extension Session {
  private func rmmod(_ module: String, _ request: Request) throws(ControlError) -> Data? {
    if request.wait != true { return success(try service.rmmod(module)) }
    let limit = try limit(of: request, [module])
    let service = service
    return try whenDone { () async throws(ControlError) -> RmmodReply in
      try await service.rmmodWaiting(module, whenIdle: request.whenIdle ?? false, within: limit)
    }
  }

  /// Several at once. What is wrong with one of them is in its row.
  private func rmmod(_ modules: [String], _ request: Request) throws(ControlError) -> Data? {
    let limit = try limit(of: request, modules)
    let policy = UnloadPolicy(wait: request.wait ?? false, whenIdle: request.whenIdle ?? false)
    let service = service
    return try whenDone { () async throws(ControlError) -> UnloadsReply in
      UnloadsReply(unloads: try await service.rmmod(together: modules, policy, within: limit))
    }
  }

  private func limit(of request: Request, _ modules: [String]) throws(ControlError) -> Duration? {
    let names = modules.joined(separator: ", ")
    if let seconds = request.seconds, !(seconds >= 0 && seconds <= Self.longestWait) {
      throw ControlError(EINVAL, "\(names): a wait is from 0 to \(Int(Self.longestWait)) seconds")
    }
    if request.wait == true, let own = objects.values.first(where: { modules.contains($0.module) })?.module {
      throw ControlError(EDEADLK, "\(own): this connection holds an object of it open itself")
    }
    return request.seconds.map { .seconds($0) }
  }

  /// The reply, once there is one; nil when the client went before.
  private func whenDone<Body: Encodable & Sendable>(
    _ body: @escaping @Sendable () async throws(ControlError) -> Body
  ) throws(ControlError) -> Data? {
    let unload = try PendingUnload<Body>()
    unload.start(body)
    // A client that went while it waited must not keep its objects: another client may wait for
    // those.
    if control_wait_or_hangup(unload.bell.descriptor, socket) == 2 { return nil }
    return success(try unload.result())
  }
}

/// An unload that waits for users, and goes on when no client waits for its result any more.
private final class PendingUnload<Body: Sendable>: Sendable {
  let bell: Bell
  private let outcome = Mutex<Result<Body, ControlError>?>(nil)

  init() throws(ControlError) {
    bell = try Bell()
  }

  func start(_ body: @escaping @Sendable () async throws(ControlError) -> Body) {
    Task.detached { [self] in
      do throws(ControlError) {
        finish(.success(try await body()))
      } catch {
        finish(.failure(error))
      }
    }
  }

  /// The result, after the bell rang.
  func result() throws(ControlError) -> Body {
    guard let result = outcome.withLock({ $0 }) else {
      throw ControlError(EINTR, "the wait for the unload was interrupted")
    }
    return try result.get()
  }

  private func finish(_ result: Result<Body, ControlError>) {
    outcome.withLock { $0 = result }
    bell.ring()
  }
}
