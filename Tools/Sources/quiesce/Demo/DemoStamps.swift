import ControlClient
import ControlProtocol
import Foundation

/// The module of `quiesce demo --replace`, whose versions mark each datagram and count them
/// together.
struct DemoStamps {
  /// Its name, and that of the object with the total.
  static let module = "stamp"
  /// A datagram passes the module as a request and as an answer.
  static let marks = 2

  private let control: String

  /// Loads the first version. Blocks.
  init(control: String) throws(ControlError) {
    self.control = control
    _ = try ControlClient(path: control).insmod(Self.module, parameters: ["number": "0"])
  }

  /// How many datagrams the versions have seen. Blocks.
  func total() throws(ControlError) -> Int {
    let client = try ControlClient(path: control)
    let object = try client.open(Self.module)
    let text = String(decoding: try client.read(object, from: 0), as: UTF8.self)
    guard let total = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw ControlError(EBADMSG, "\(Self.module): its object is no number")
    }
    return total
  }
}
