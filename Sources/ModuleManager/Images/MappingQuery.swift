internal import Glibc

/// Queries the kernel about single mappings of the process. A query takes about a microsecond,
/// whatever the number of mappings.
///
/// Source: Linux 6.11, `PROCMAP_QUERY` in uapi/linux/fs.h.
struct MappingQuery: ~Copyable {
  private let descriptor: Int32

  /// Nil if the kernel does not have this query.
  init?() {
    descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return nil }
    // There is at least one mapping to find: the one that holds this function.
    if case .failure = ask(from: 0) { return nil }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The file that is mapped at `address`, and the bounds of its mappings around it. The loader
  /// leaves no gap inside an image.
  func image(at address: UnsafeRawPointer) -> (file: MappedFile, bounds: Range<UInt>)? {
    let address = UInt(bitPattern: address)
    guard let first = mapping(from: address), first.start <= address, first.file.inode != 0 else {
      return nil
    }
    var (start, end) = (first.start, first.end)
    while start > 0, let before = mapping(from: start - 1), before.end == start, before.file == first.file {
      start = before.start
    }
    while let next = mapping(from: end), next.start == end, next.file == first.file { end = next.end }
    return (first.file, start..<end)
  }

  /// Whether any part of `bounds` is still a mapping of `file`.
  func contains(_ file: MappedFile, in bounds: Range<UInt>) -> Bool {
    var start = bounds.lowerBound
    while let next = mapping(from: start), next.start < bounds.upperBound {
      if next.file == file { return true }
      start = next.end
    }
    return false
  }

  /// The mapping that covers `address`, or else the next one above it. Not the next one of a file:
  /// the kernel would look at each mapping in between, and each thread has two for its stack.
  private func mapping(from address: UInt) -> ProcessMaps.Mapping? { try? ask(from: address).get() }

  /// `struct procmap_query`.
  private struct Question {
    var size = UInt64(MemoryLayout<Question>.size)
    /// `COVERING_OR_NEXT_VMA`.
    var flags: UInt64 = 0x10
    var address: UInt64
    var start: UInt64 = 0
    var end: UInt64 = 0
    var rest: (flags: UInt64, pageSize: UInt64, offset: UInt64) = (0, 0, 0)
    var inode: UInt64 = 0
    var major: UInt32 = 0
    var minor: UInt32 = 0
    // Neither the name nor the build id is requested.
    var sizes: (name: UInt32, buildID: UInt32) = (0, 0)
    var addresses: (name: UInt64, buildID: UInt64) = (0, 0)
  }

  private struct NoAnswer: Error {}

  /// Fails also if there is no mapping at or above the address.
  private func ask(from address: UInt) -> Result<ProcessMaps.Mapping, NoAnswer> {
    var question = Question(address: UInt64(address))
    // _IOWR('f', 17, struct procmap_query)
    if ioctl(descriptor, 0xc068_6611, &question) != 0 { return .failure(NoAnswer()) }
    return .success(
      ProcessMaps.Mapping(
        start: UInt(question.start), end: UInt(question.end),
        file: MappedFile(major: question.major, minor: question.minor, inode: question.inode)))
  }
}
