import CControl
import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

/// A client that sends whatever bytes it is told to, for requests that ``ControlClient`` cannot
/// make.
final class RawClient {
  private let channel: LineChannel

  init(_ path: String) throws {
    let socket = control_socket()
    try #require(socket >= 0)
    channel = LineChannel(descriptor: socket, limit: 1 << 20)
    try #require(control_connect(socket, path, 1) == 0)
  }

  /// Sends bytes as they are. A host that hung up already is not an error here.
  func send(_ bytes: some Sequence<UInt8>) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { control_send(channel.descriptor, $0.baseAddress, $0.count, 1) }
      if count <= 0 { return }
      rest = rest.dropFirst(count)
    }
  }

  func send(_ text: String) { send(text.utf8) }

  var descriptor: Int32 { channel.descriptor }

  /// Ends the sending side only.
  func finish() { shutdown(channel.descriptor, Int32(SHUT_WR)) }

  /// The next reply; nil when the host has hung up. Throws when that takes so long that it will not
  /// happen.
  func reply() throws -> String? {
    try channel.readLine(within: .seconds(60)).map { String(decoding: $0, as: UTF8.self) }
  }
}
