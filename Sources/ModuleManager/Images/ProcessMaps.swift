internal import Glibc

/// All file mappings of the process, as the kernel reports them now. Reading them takes a tenth of
/// a millisecond or more; see ``MappingQuery`` for the faster way.
///
/// Source: proc(5), `/proc/self/maps`.
struct ProcessMaps {
  struct Mapping: Equatable {
    let start: UInt
    let end: UInt
    let file: MappedFile
  }

  let mappings: [Mapping]

  /// Reads the mappings. Throws the error number.
  init() throws(FileError) {
    self.init(text: String(decoding: try ProcessFile.bytes("/proc/self/maps"), as: UTF8.self))
  }

  /// Parses lines of the form `start-end permissions offset device inode path`. Anonymous mappings
  /// are left out.
  init(text: String) {
    mappings = text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
      guard fields.count >= 5, !fields[4].elementsEqual("0".utf8) else { return nil }
      let range = fields[0].split(separator: UInt8(ascii: "-"))
      guard range.count == 2, let start = UInt(Substring(range[0]), radix: 16),
        let end = UInt(Substring(range[1]), radix: 16)
      else { return nil }
      let device = fields[3].split(separator: UInt8(ascii: ":"))
      guard device.count == 2, let major = UInt32(Substring(device[0]), radix: 16),
        let minor = UInt32(Substring(device[1]), radix: 16), let inode = UInt64(Substring(fields[4]))
      else { return nil }
      return Mapping(start: start, end: end, file: MappedFile(major: major, minor: minor, inode: inode))
    }
  }

  /// The file that is mapped at `address`, and the bounds of all its mappings.
  func image(at address: UnsafeRawPointer) -> (file: MappedFile, bounds: Range<UInt>)? {
    let address = UInt(bitPattern: address)
    guard let file = mappings.first(where: { $0.start <= address && address < $0.end })?.file else {
      return nil
    }
    let parts = mappings.filter { $0.file == file }
    // Not empty: it includes the mapping that holds the address.
    let bounds = parts.map(\.start).min()!..<parts.map(\.end).max()!
    return (file, bounds)
  }

  /// Whether any part of `bounds` is still a mapping of `file`.
  func contains(_ file: MappedFile, in bounds: Range<UInt>) -> Bool {
    mappings.contains { $0.file == file && $0.start < bounds.upperBound && bounds.lowerBound < $0.end }
  }
}

/// A mapped file, identified by the numbers of `/proc/self/maps`. On some file systems stat(2)
/// reports other numbers.
struct MappedFile: Hashable, Sendable {
  let major: UInt32
  let minor: UInt32
  let inode: UInt64
}
