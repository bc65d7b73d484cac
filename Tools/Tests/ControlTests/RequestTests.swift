import Foundation
import Testing

@testable import Control

@Suite struct RequestTests {
  @Test func everyFieldIsRead() throws {
    let line =
      #"{"verb":"read","module":"m","wait":true,"object":"o","handle":3,"offset":18446744073709551615}"#
    let request = try parse(line)
    #expect(
      request
        == Request(verb: "read", module: "m", wait: true, object: "o", handle: 3, offset: UInt64.max))
  }

  @Test func unknownFieldsAreIgnored() throws {
    #expect(try parse(#" {"verb":"lsmod","color":[1,{}]} "#) == Request(verb: "lsmod"))
  }

  @Test(arguments: [
    "", " ", "garbage", "{", #"{"verb":"lsmod""#, #"{"verb":"lsmod"} {}"#, "\u{0}", #"{"verb":lsmod}"#,
    String(repeating: "[", count: 60_000),
  ])
  func invalidJSONIsRefused(line: String) {
    #expect(throws: ControlError(EBADMSG, "the request is not JSON")) { try parse(line) }
  }

  @Test func invalidUnicodeIsRefused() {
    #expect(throws: ControlError(EBADMSG, "the request is not JSON")) {
      try Request(parsing: Data([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), with: JSONDecoder())
    }
  }

  @Test(arguments: [
    ("[]", "the request has the wrong type"),
    ("17", "the request has the wrong type"),
    ("null", "the request has the wrong type"),
    ("{}", "the request has no `verb`"),
    (#"{"verb":null}"#, "the request's `verb` has the wrong type"),
    (#"{"verb":7}"#, "the request's `verb` has the wrong type"),
    (#"{"verb":"rmmod","wait":"yes"}"#, "the request's `wait` has the wrong type"),
    (#"{"verb":"rmmod","module":["a"]}"#, "the request's `module` has the wrong type"),
    (#"{"verb":"read","offset":-1}"#, "a number of the request is out of range"),
    (#"{"verb":"read","handle":1.5}"#, "a number of the request is out of range"),
    (#"{"verb":"read","handle":1e300}"#, "a number of the request is out of range"),
  ])
  func wrongShapeIsRefused(line: String, message: String) {
    #expect(throws: ControlError(EINVAL, message)) { try parse(line) }
  }

  private func parse(_ line: String) throws(ControlError) -> Request {
    try Request(parsing: Data(line.utf8), with: JSONDecoder())
  }
}
