import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct LineBufferTests {
  @Test(arguments: [1, 2, 3, 7, 1000])
  func linesAreSplitWhereverTheInputIsCut(chunk: Int) throws {
    let lines = ["", "a", String(repeating: "x", count: 300), "é", ""]
    let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
    var buffer = LineBuffer(limit: 300)
    var found: [String] = []
    for start in stride(from: 0, to: bytes.count, by: chunk) {
      buffer.append(bytes[start..<min(start + chunk, bytes.count)])
      while let line = try buffer.next() { found.append(String(decoding: line, as: UTF8.self)) }
    }
    #expect(found == lines)
    #expect(buffer.isEmpty)
  }

  @Test func incompleteLineIsKept() throws {
    var buffer = LineBuffer(limit: 10)
    buffer.append(Array("one\ntwo".utf8))
    #expect(try buffer.next() == Data("one".utf8))
    #expect(try buffer.next() == nil)
    #expect(!buffer.isEmpty)
  }

  @Test func longestLineIsAcceptedAndALongerOneIsNot() throws {
    let longest = Array(repeating: UInt8(ascii: "x"), count: Request.limit)
    var buffer = LineBuffer(limit: Request.limit)
    buffer.append(longest + Array("\n".utf8))
    #expect(try buffer.next()?.count == Request.limit)

    buffer.append(longest)
    #expect(try buffer.next() == nil)
    buffer.append(Array("x".utf8))
    #expect(throws: ControlError(EMSGSIZE, "the message is longer than 65536 bytes")) {
      try buffer.next()
    }
  }

  @Test func longLineInOnePieceIsRefused() {
    var buffer = LineBuffer(limit: 2)
    buffer.append(Array("abc\n".utf8))
    #expect(throws: ControlError.self) { try buffer.next() }
  }
}

extension LineBuffer {
  fileprivate mutating func append(_ bytes: some Collection<UInt8>) {
    Array(bytes).withUnsafeBytes { append($0) }
  }
}
