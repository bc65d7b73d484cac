import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct ReplyTests {
  @Test func successIsOneObject() throws {
    let reply = RmmodReply(module: "conntrack", unmapped: true, unloadMicroseconds: 812, moduleCalls: 7)
    let expected =
      #"{"module":"conntrack","module_calls":7,"ok":true,"unload_us":812,"unmapped":true}"#
    #expect(try encode(Reply.success(reply)) == expected)
    guard case .success(let back) = try decode(expected, RmmodReply.self) else {
      Issue.record("a success was read as a refusal")
      return
    }
    #expect(back == reply)
  }

  @Test func refusalNamesTheErrno() throws {
    let line = #"{"errno":"EBUSY","message":"conntrack: in use","ok":false}"#
    #expect(try encode(Reply<EmptyReply>.refusal(ControlError(EBUSY, "conntrack: in use"))) == line)
    guard case .refusal(let error) = try decode(line, RmmodReply.self) else {
      Issue.record("a refusal was read as a success")
      return
    }
    #expect(error == ControlError(EBUSY, "conntrack: in use"))
    #expect(error.description == "conntrack: in use (EBUSY)")
  }

  @Test func everyErrnoKeepsItsNameAcrossTheWire() {
    for code in 1..<Int32(134) where ControlError(code, "").errnoName.hasPrefix("E") {
      let name = ControlError(code, "").errnoName
      #expect(ControlError(named: name, "").errnoName == name)
    }
    #expect(ControlError(named: "ENONSENSE", "").errno == EIO)
  }

  @Test func errorsStayOnOneLine() {
    #expect(ControlError(EINVAL, "a\nb\u{1b}[31m\u{2028}c").message == #"a\nb\u{1B}[31m\u{2028}c"#)
    #expect("plain é".onOneLine == "plain é")
  }

  private func encode(_ value: some Encodable) throws -> String {
    String(decoding: try Wire.encoder().encode(value), as: UTF8.self)
  }

  private func decode<Body: Decodable>(_ line: String, _ type: Body.Type) throws -> Reply<Body> {
    try Wire.decoder().decode(Reply<Body>.self, from: Data(line.utf8))
  }
}
