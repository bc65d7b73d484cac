import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct RequestTests {
  @Test func everyFieldIsRead() throws {
    #expect(
      try parse(#"{"verb":"read","module":"m","wait":true,"handle":3,"offset":18446744073709551615}"#)
        == .read(handle: 3, offset: UInt64.max))
    #expect(
      try parse(
        #"{"verb":"request","module":"m","first_time":true,"dry_run":true,"parameters":{"aB_c":"1"}}"#)
        == .request(.init("m", parameters: ["aB_c": "1"], firstTime: true, dryRun: true)))
    #expect(
      try parse(#"{"verb":"rmmod","modules":["a","b"],"wait":true,"when_idle":true,"seconds":2}"#)
        == .rmmod(.init(["a", "b"], isTogether: true, policy: .whenIdle, seconds: 2)))
    let force = Request.rmmod(.init(["a"], isTogether: false, policy: .force))
    #expect(try parse(#"{"verb":"force","module":"a"}"#) == force)
    #expect(try parse(#"{"verb":"rmmod","module":"a","force":true}"#) == force)
  }

  /// What one side writes, the other one reads.
  @Test(arguments: [
    Request.insmod(module: "m", parameters: ["aB_c": "x"], seconds: 1),
    .rmmod(.init(["a"], isTogether: false, policy: .fail)),
    .rmmod(.init(["a"], isTogether: false, policy: .force, seconds: 3)),
    .rmmod(.init(["a", "b"], isTogether: true, policy: .wait)),
    .rmmod(.init([], isTogether: true, policy: .whenIdle)),
    .replace(.init("m", path: "/2/m.so", parameters: ["p": "1"], seconds: 5)),
    .request(.init("m", parameters: ["p": "1"], firstTime: true, dryRun: true, seconds: 4)),
    .remove(.init("m", firstTime: true)), .cancel(module: "m"), .configuration, .parameters(module: "m"),
    .set(parameter: "p", module: "m", value: "1", seconds: nil), .lsmod, .unloaded, .stat, .objects,
    .open(object: "o"), .read(handle: 3, offset: .max), .close(handle: 3),
    .trace(.init(seconds: 0.5, filter: .init(modules: ["m"], kinds: ["get"], seconds: 0.5), capacity: 7)),
  ])
  func survivesTheWire(request: Request) throws {
    #expect(try Request(parsing: request.line(with: Wire.encoder()), with: Wire.decoder()) == request)
  }

  @Test func unknownFieldsAreIgnored() throws {
    #expect(try parse(#" {"verb":"lsmod","color":[1,{}]} "#) == .lsmod)
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
      try Request(parsing: Data([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), with: Wire.decoder())
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
    (#"{"verb":"request","module":"a","first_time":1}"#, "the request's `first_time` has the wrong type"),
    (#"{"verb":"rmmod","module":["a"]}"#, "the request's `module` has the wrong type"),
    (#"{"verb":"read","offset":-1}"#, "a number of the request is out of range"),
    (#"{"verb":"read","handle":1.5}"#, "a number of the request is out of range"),
    (#"{"verb":"read","handle":1e300}"#, "a number of the request is out of range"),
  ])
  func wrongShapeIsRefused(line: String, message: String) {
    #expect(throws: ControlError(EINVAL, message)) { try parse(line) }
  }

  private func parse(_ line: String) throws(ControlError) -> Request {
    try Request(parsing: Data(line.utf8), with: Wire.decoder())
  }
}
