internal import Glibc

/// A parameter of a module, in an image or compiled in.
protocol ParameterSlot: Sendable {
  var form: ParameterForm { get }
  /// The current content. Any thread.
  func load() -> ParameterContent
  /// Stores a value before `init` runs, when no other thread reads the parameter.
  func storeFirst(_ content: ParameterContent)
  /// Changes the value while the module is loaded, on the manager's thread. Returns 0, or the
  /// negative errno of a module that refuses.
  func change(to content: ParameterContent) -> Int32
}

/// The content of a parameter. Numbers are stored as bits, sign-extended.
enum ParameterContent: Hashable, Sendable {
  case number(Int64)
  case list([Int64])
  case text(String)
}

/// The type and limits of a parameter, and how its values are written.
struct ParameterForm: Hashable, Sendable {
  enum Kind: UInt32 { case bool = 1, int, uint, string }

  let name: String
  let kind: Kind
  let isList: Bool
  let isWritable: Bool
  /// Elements of a list, or bytes of a string.
  let capacity: Int
  /// The limits, as bits.
  let minimum: Int64
  let maximum: Int64

  var typeName: String {
    let one =
      switch kind {
      case .bool: "bool"
      case .int: "int"
      case .uint: "uint"
      case .string: "string"
      }
    return isList ? "list of \(one)" : one
  }

  /// - Throws: `EINVAL` for a value of another type, `ERANGE` for a number outside the limits,
  ///   `E2BIG` for a list that is too long, `ENAMETOOLONG` for a string that is too long.
  func parse(_ text: String) throws(ParameterError) -> ParameterContent {
    if kind == .string {
      if text.utf8.contains(0) { throw ParameterError(EINVAL, "a string has no zero bytes") }
      if text.utf8.count > capacity {
        throw ParameterError(ENAMETOOLONG, "longer than \(capacity) bytes")
      }
      return .text(text)
    }
    if !isList { return .number(try number(text[...])) }
    if text.isEmpty { return .list([]) }
    let words = text.split(separator: ",", omittingEmptySubsequences: false)
    if words.count > capacity {
      throw ParameterError(E2BIG, "\(words.count) elements are more than \(capacity)")
    }
    var numbers: [Int64] = []
    for word in words { numbers.append(try number(word)) }
    return .list(numbers)
  }

  private func number(_ text: Substring) throws(ParameterError) -> Int64 {
    let shown = "'\(text.prefix(40))'"
    switch kind {
    case .bool:
      switch text.lowercased() {
      case "y", "yes", "on", "true", "1": return 1
      case "n", "no", "off", "false", "0": return 0
      default: throw ParameterError(EINVAL, "\(shown) is neither yes nor no")
      }
    case .int:
      // An integer that does not fit into 64 bits is out of range, not malformed.
      guard let integer = IntegerText(text) else {
        throw ParameterError(EINVAL, "\(shown) is no integer")
      }
      guard let value = integer.signed, value >= minimum, value <= maximum else {
        throw ParameterError(ERANGE, "\(text.prefix(40)) is not from \(minimum) to \(maximum)")
      }
      return value
    case .uint, .string:
      guard let integer = IntegerText(text) else {
        throw ParameterError(EINVAL, "\(shown) is no integer")
      }
      let (least, most) = (UInt64(bitPattern: minimum), UInt64(bitPattern: maximum))
      guard let value = integer.unsigned, value >= least, value <= most else {
        throw ParameterError(ERANGE, "\(text.prefix(40)) is not from \(least) to \(most)")
      }
      return Int64(bitPattern: value)
    }
  }

  /// The text that ``parse(_:)`` reads as this content.
  func text(of content: ParameterContent) -> String {
    switch content {
    case .text(let text): text
    case .list(let numbers): numbers.map(text).joined(separator: ",")
    case .number(let number): text(of: number)
    }
  }

  private func text(of number: Int64) -> String {
    switch kind {
    case .bool: number == 0 ? "no" : "yes"
    case .uint: String(UInt64(bitPattern: number))
    case .int, .string: String(number)
    }
  }
}

/// Why a parameter cannot hold a value.
struct ParameterError: Error {
  let errno: Int32
  let reason: String

  init(_ errno: Int32, _ reason: String) {
    self.errno = errno
    self.reason = reason
  }
}

/// A parameter of a loaded module.
public struct ParameterStatus: Hashable, Sendable, Codable {
  /// Its name.
  public let name: String
  /// `bool`, `int`, `uint`, `string`, `list of int` and so on.
  public let type: String
  /// The current value, written as a request would give it.
  public let value: String
  /// Whether it can be changed while the module is loaded.
  public let isWritable: Bool

  init(_ slot: any ParameterSlot) {
    name = slot.form.name
    type = slot.form.typeName
    value = slot.form.text(of: slot.load())
    isWritable = slot.form.isWritable
  }
}
