internal import Glibc

/// The content of a file, as the inspection of an image reads it: each access is checked against
/// the file's length. Copies nothing.
///
/// Valid as long as the ``FileContent`` that it was taken from.
struct ELFBytes {
  private let bytes: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var count: UInt64 { UInt64(bytes.count) }

  func holds(_ offset: UInt64, _ size: UInt64) -> Bool { offset <= count && size <= count - offset }

  /// The value at a place in the file; nil where the file ends before it does.
  func load<Value: BitwiseCopyable>(_ type: Value.Type, at offset: UInt64) -> Value? {
    guard holds(offset, UInt64(MemoryLayout<Value>.size)) else { return nil }
    return bytes.loadUnaligned(fromByteOffset: Int(offset), as: type)
  }

  /// The part of `range` that is inside the file.
  func part(_ range: Range<UInt64>) -> UnsafeRawBufferPointer {
    let range = range.clamped(to: 0..<count)
    return UnsafeRawBufferPointer(rebasing: bytes[Int(range.lowerBound)..<Int(range.upperBound)])
  }

  /// The bytes from `offset` up to the next zero; nil when there is none before `end`.
  func text(at offset: UInt64, before end: UInt64) -> UnsafeRawBufferPointer? {
    let end = min(end, count)
    guard offset < end else { return nil }
    let rest = part(offset..<end)
    guard let zero = memchr(rest.baseAddress!, 0, rest.count) else { return nil }
    return UnsafeRawBufferPointer(rebasing: rest[..<(UnsafeRawPointer(zero) - rest.baseAddress!)])
  }
}

/// What is wrong with an ELF file: the thing and what it does not do.
struct ELFFault: Error {
  let reason: String

  /// Names in a file may have control characters, and the reason is one line of a log.
  init(_ reason: String) {
    var text = String.UnicodeScalarView()
    for scalar in reason.unicodeScalars {
      text.append(scalar.properties.generalCategory == .control ? "?" : scalar)
    }
    self.reason = String(text)
  }
}

extension UInt64 {
  /// The sum, or the greatest number where it would overflow: no file is that long.
  func plus(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }

  func isAligned(to alignment: UInt64) -> Bool { self & (alignment - 1) == 0 }

  func rounded(upTo alignment: UInt64) -> UInt64 { plus(alignment - 1) & ~(alignment - 1) }
}
