import ControlProtocol

/// JSON as the commands print it: as on the wire.
package enum JSON {
  /// One line, with keys in a fixed order.
  package static func line(_ value: some Encodable) throws -> String {
    String(decoding: try Wire.encoder().encode(value), as: UTF8.self)
  }
}
