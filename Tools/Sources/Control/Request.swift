import Foundation

/// One line from a client: a verb and what it needs.
///
/// ```json
/// {"verb":"rmmod","module":"conntrack","wait":true}
/// ```
struct Request: Codable, Sendable, Hashable {
  var verb: String
  var module: String?
  var wait: Bool?
  /// With `wait`: let new users in meanwhile.
  var whenIdle: Bool?
  /// How long to wait at the most.
  var seconds: Double?
  var firstTime: Bool?
  var dryRun: Bool?
  /// By name: what the module's parameters are to hold.
  var parameters: [String: String]?
  var parameter: String?
  var value: String?
  var object: String?
  var handle: Int?
  var offset: UInt64?
  /// Of a trace: those of these modules alone. Of `rmmod`: all of them, together.
  var modules: [String]?
  /// Of a trace: how many events are kept until they are asked for.
  var capacity: Int?

  private enum CodingKeys: String, CodingKey {
    case verb, module, wait, seconds, object, handle, offset, parameters, parameter, value
    case modules, capacity
    case firstTime = "first_time"
    case dryRun = "dry_run"
    case whenIdle = "when_idle"
  }

  /// The longest line, without its newline.
  static let limit = 65_536
}

extension Request {
  /// Reads a line. `EBADMSG` when it is not JSON, `EINVAL` when it is JSON of another shape.
  init(parsing line: Data, with decoder: JSONDecoder) throws(ControlError) {
    do {
      self = try decoder.decode(Request.self, from: line)
    } catch let error as DecodingError {
      throw Self.refusal(for: error, of: line)
    } catch {
      throw ControlError(EBADMSG, "the request is not JSON")
    }
  }

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
    path.first.map { "the request's `\($0.stringValue)`" } ?? "the request"
  }
}

extension Request {
  /// The field, which this verb needs. `EINVAL` without it.
  func required<Value>(
    _ field: KeyPath<Request, Value?>, named name: String
  ) throws(ControlError) -> Value {
    guard let value = self[keyPath: field] else {
      throw ControlError(EINVAL, "\(verb): the request has no `\(name)`")
    }
    return value
  }
}
