import Foundation
import Testing
import ToolSupport

@Suite struct LineWriterTests {
  /// The pipe is read only after all lines were written.
  @Test func dropsAndCountsWhatIsNotReadAndKeepsEssentialLines() async throws {
    try await onThread {
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      let output = OwnedSocket(ends[0])
      // Not closed: the writer's thread does not end.
      let writer = LineWriter(ends[1], name: "test")
      let line = String(repeating: "x", count: 999)
      for _ in 0..<1000 { writer.write(line) }
      writer.write("the last one", isEssential: true)
      #expect(!writer.flush(within: .zero))

      var text = ""
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      while !text.hasSuffix("read\n") {
        let count = read(output.descriptor, &bytes, bytes.count)
        try #require(count > 0)
        text += String(decoding: bytes[..<count], as: UTF8.self)
      }
      let lines = text.split(separator: "\n").map(String.init)
      let kept = lines.count { $0 == line }
      #expect(kept > 250 && kept < 1000)
      #expect(
        lines.suffix(2) == [
          "the last one", "test: \(1000 - kept) lines dropped: they came faster than they were read",
        ])
      #expect(writer.flush(within: .seconds(60)))
    }
  }

  @Test func cutsLongLinesAtACharacter() async throws {
    try await onThread {
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      let output = OwnedSocket(ends[0])
      let writer = LineWriter(ends[1], name: "test")
      writer.write("x" + String(repeating: "é", count: LineWriter.lineLimit))
      #expect(writer.flush(within: .seconds(60)))
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(output.descriptor, &bytes, bytes.count)
      let text = String(decoding: bytes[..<max(0, count)], as: UTF8.self)
      #expect(text == "x" + String(repeating: "é", count: LineWriter.lineLimit / 2 - 1) + "…\n")
    }
  }
}
