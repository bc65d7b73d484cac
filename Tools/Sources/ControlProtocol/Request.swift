import Foundation

/// One line from a client: a verb and what it needs.
///
/// ```json
/// {"verb":"rmmod","module":"conntrack","wait":true}
/// ```
package enum Request: Sendable, Hashable {
  case insmod(module: String, parameters: [String: String], seconds: Double?)
  case rmmod(Unload)
  case replace(Replacement)
  case request(Load)
  case remove(Removal)
  /// Ends the waits of all requests for the module.
  case cancel(module: String)
  case configuration
  case parameters(module: String)
  case set(parameter: String, module: String, value: String, seconds: Double?)
  case lsmod
  case unloaded
  case stat
  case objects
  case open(object: String)
  case read(handle: Int, offset: UInt64)
  case close(handle: Int)
  case trace(Trace)

  /// What `rmmod` is asked for.
  package struct Unload: Sendable, Hashable {
    package var modules: [String]
    /// Whether the reply has a row for each module, instead of being about the one module.
    package var isTogether: Bool
    package var policy: UnloadPolicy
    /// The limit of the wait.
    package var seconds: Double?

    package init(_ modules: [String], isTogether: Bool, policy: UnloadPolicy, seconds: Double? = nil) {
      self.modules = modules
      self.isTogether = isTogether
      self.policy = policy
      self.seconds = seconds
    }
  }

  /// What `replace` is asked for.
  package struct Replacement: Sendable, Hashable {
    package var module: String
    /// The file of the new version, or its name in the host's module directory.
    package var path: String
    package var parameters: [String: String]
    /// The limit of the start, and of the wait for users.
    package var seconds: Double?

    package init(
      _ module: String, path: String, parameters: [String: String] = [:], seconds: Double? = nil
    ) {
      self.module = module
      self.path = path
      self.parameters = parameters
      self.seconds = seconds
    }
  }

  /// What `request` is asked for.
  package struct Load: Sendable, Hashable {
    package var module: String
    package var parameters: [String: String]
    package var firstTime: Bool
    package var dryRun: Bool
    package var seconds: Double?

    package init(
      _ module: String, parameters: [String: String] = [:], firstTime: Bool = false, dryRun: Bool = false,
      seconds: Double? = nil
    ) {
      self.module = module
      self.parameters = parameters
      self.firstTime = firstTime
      self.dryRun = dryRun
      self.seconds = seconds
    }
  }

  /// What `remove` is asked for.
  package struct Removal: Sendable, Hashable {
    package var module: String
    package var firstTime: Bool
    package var dryRun: Bool
    package var seconds: Double?

    package init(_ module: String, firstTime: Bool = false, dryRun: Bool = false, seconds: Double? = nil) {
      self.module = module
      self.firstTime = firstTime
      self.dryRun = dryRun
      self.seconds = seconds
    }
  }

  /// What `trace` is asked for.
  package struct Trace: Sendable, Hashable {
    /// How long to wait for an event.
    package var seconds: Double?
    /// Read with the first request alone, as the capacity is.
    package var filter: TraceFilterRow
    /// How many events are kept until they are asked for.
    package var capacity: Int?

    package init(seconds: Double? = nil, filter: TraceFilterRow = TraceFilterRow(), capacity: Int? = nil) {
      self.seconds = seconds
      self.filter = filter
      self.capacity = capacity
    }
  }

  /// The longest line, without its newline.
  package static let limit = 65_536

  /// Whether the request changes nothing: what a read-only socket serves.
  package var isReadOnly: Bool {
    switch self {
    case .lsmod, .unloaded, .stat, .objects, .configuration, .parameters, .trace: true
    // An object that is open keeps its module loaded.
    case .open, .read, .close: false
    case .insmod, .rmmod, .replace, .request, .remove, .cancel, .set: false
    }
  }
}

// MARK: - On the wire

extension Request {
  /// Reads a line. `EBADMSG` when it is not JSON, `EINVAL` when it is JSON of another shape,
  /// `ENOSYS` for a verb that there is not.
  package init(parsing line: Data, with decoder: JSONDecoder) throws(ControlError) {
    let fields: Fields
    do { fields = try decoder.decode(Fields.self, from: line) } catch let error as DecodingError {
      throw Self.refusal(for: error, of: line)
    } catch {
      throw ControlError(EBADMSG, "the request is not JSON")
    }
    self = try fields.request()
  }

  /// The line, without its newline.
  package func line(with encoder: JSONEncoder) throws -> Data { try encoder.encode(Fields(self)) }

  private static func refusal(for error: DecodingError, of line: Data) -> ControlError {
    switch error {
    case .keyNotFound(let key, _):
      ControlError(EINVAL, "the request has no `\(key.stringValue)`")
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      ControlError(EINVAL, "\(subject(context.codingPath)) has the wrong type")
    // The decoder says the same of a number that does not fit its field as of what is no JSON at
    // all.
    case .dataCorrupted where (try? JSONSerialization.jsonObject(with: line)) != nil:
      ControlError(EINVAL, "a number of the request is out of range")
    default:
      ControlError(EBADMSG, "the request is not JSON")
    }
  }

  private static func subject(_ path: [any CodingKey]) -> String {
    path.first.map { "the request's `\(onTheWire($0.stringValue))`" } ?? "the request"
  }

  /// `firstTime` is `first_time` in a line.
  private static func onTheWire(_ key: String) -> String {
    key.map { $0.isUppercase ? "_\($0.lowercased())" : String($0) }.joined()
  }
}

/// The fields of a line. The verb decides which of them a request needs.
private struct Fields: Codable {
  var verb: String
  var module: String?
  var path: String?
  var wait: Bool?
  /// With `wait`: new users are let in meanwhile.
  var whenIdle: Bool?
  /// Tells the module's users to go, and waits for them.
  var force: Bool?
  var seconds: Double?
  var firstTime: Bool?
  var dryRun: Bool?
  var parameters: [String: String]?
  var parameter: String?
  var value: String?
  var object: String?
  var handle: Int?
  var offset: UInt64?
  var modules: [String]?
  var kinds: [String]?
  var atLeast: Double?
  var capacity: Int?

  func request() throws(ControlError) -> Request {
    switch verb {
    case "insmod":
      .insmod(module: try moduleName(), parameters: parameters ?? [:], seconds: seconds)
    case "rmmod":
      .rmmod(
        .init(
          try moduleNames(), isTogether: modules != nil, policy: policy, seconds: seconds))
    case "force":
      .rmmod(.init([try moduleName()], isTogether: false, policy: .force, seconds: seconds))
    case "replace":
      .replace(
        .init(
          try moduleName(), path: try required(path, "path"), parameters: parameters ?? [:], seconds: seconds)
      )
    case "request":
      .request(
        .init(
          try moduleName(), parameters: parameters ?? [:], firstTime: firstTime ?? false,
          dryRun: dryRun ?? false, seconds: seconds))
    case "remove":
      .remove(
        .init(
          try moduleName(), firstTime: firstTime ?? false, dryRun: dryRun ?? false, seconds: seconds))
    case "cancel": .cancel(module: try moduleName())
    case "configuration": .configuration
    case "parameters": .parameters(module: try moduleName())
    case "set":
      .set(
        parameter: try required(parameter, "parameter"), module: try moduleName(),
        value: try required(value, "value"), seconds: seconds)
    case "lsmod": .lsmod
    case "unloaded": .unloaded
    case "stat": .stat
    case "objects": .objects
    case "open": .open(object: try required(object, "object"))
    case "read": .read(handle: try required(handle, "handle"), offset: offset ?? 0)
    case "close": .close(handle: try required(handle, "handle"))
    case "trace":
      .trace(
        .init(
          seconds: seconds, filter: .init(modules: modules, kinds: kinds, seconds: atLeast),
          capacity: capacity))
    default: throw ControlError(ENOSYS, "\(verb.prefix(40)): no such request")
    }
  }

  private var policy: UnloadPolicy {
    if force == true { return .force }
    if wait != true { return .fail }
    return whenIdle == true ? .whenIdle : .wait
  }

  private func moduleNames() throws(ControlError) -> [String] {
    if let modules { return modules }
    return [try moduleName()]
  }

  private func moduleName() throws(ControlError) -> String { try required(module, "module") }

  private func required<Value>(_ value: Value?, _ name: String) throws(ControlError) -> Value {
    guard let value else { throw ControlError(EINVAL, "\(verb): the request has no `\(name)`") }
    return value
  }

  init(_ request: Request) {
    switch request {
    case .insmod(let module, let parameters, let seconds):
      self.init("insmod", module)
      self.parameters = parameters
      self.seconds = seconds
    case .rmmod(let unload):
      self.init("rmmod", unload.isTogether ? nil : unload.modules.first)
      if unload.isTogether { modules = unload.modules }
      wait = unload.policy == .wait || unload.policy == .whenIdle
      whenIdle = unload.policy == .whenIdle ? true : nil
      force = unload.policy == .force ? true : nil
      seconds = unload.seconds
    case .replace(let replacement):
      self.init("replace", replacement.module)
      (path, parameters, seconds) = (replacement.path, replacement.parameters, replacement.seconds)
    case .request(let load):
      self.init("request", load.module)
      parameters = load.parameters
      (firstTime, dryRun, seconds) = (load.firstTime, load.dryRun, load.seconds)
    case .remove(let removal):
      self.init("remove", removal.module)
      (firstTime, dryRun, seconds) = (removal.firstTime, removal.dryRun, removal.seconds)
    case .cancel(let module): self.init("cancel", module)
    case .configuration: self.init("configuration")
    case .parameters(let module): self.init("parameters", module)
    case .set(let parameter, let module, let value, let seconds):
      self.init("set", module)
      (self.parameter, self.value, self.seconds) = (parameter, value, seconds)
    case .lsmod: self.init("lsmod")
    case .unloaded: self.init("unloaded")
    case .stat: self.init("stat")
    case .objects: self.init("objects")
    case .open(let object):
      self.init("open")
      self.object = object
    case .read(let handle, let offset):
      self.init("read")
      (self.handle, self.offset) = (handle, offset)
    case .close(let handle):
      self.init("close")
      self.handle = handle
    case .trace(let trace):
      self.init("trace")
      (seconds, capacity) = (trace.seconds, trace.capacity)
      (modules, kinds, atLeast) = (trace.filter.modules, trace.filter.kinds, trace.filter.seconds)
    }
  }

  private init(_ verb: String, _ module: String? = nil) {
    self.verb = verb
    self.module = module
  }
}

// MARK: - Coders

/// How both sides write and read the lines: keys in snake case, sorted.
package enum Wire {
  /// The same value is always the same line.
  package static func encoder() -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return encoder
  }

  package static func decoder() -> JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }
}
