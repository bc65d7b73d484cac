internal import Glibc

/// The content of a file, read once into memory of this process. Nothing that happens to the file
/// afterwards changes it.
package struct FileContent: ~Copyable, @unchecked Sendable {
  // Unchecked: the memory is not written after `init`.
  private let memory: UnsafeRawBufferPointer

  /// A file that is longer is refused (`EFBIG`): the copy of an image is memory.
  package static let limit = 1 << 30

  /// Reads all of an open file. Blocks for the file system.
  ///
  /// - Throws: what `fstat(2)`, `mmap(2)` and `read(2)` say; `EFBIG`; `EBUSY` when the file changes
  ///   meanwhile.
  package init(of descriptor: Int32, _ path: String) throws(ModuleFileError) {
    memory = UnsafeRawBufferPointer(try Self.read(descriptor, path))
  }

  private static func read(
    _ descriptor: Int32, _ path: String
  ) throws(ModuleFileError) -> UnsafeMutableRawBufferPointer {
    let before = try FileState(descriptor, path)
    if before.size > Self.limit { throw ModuleFileError(path, EFBIG, "is larger than 1 GiB") }
    let memory = try Self.allocate(before.size, path)
    do throws(ModuleFileError) {
      try fill(memory, from: descriptor, path)
      if try FileState(descriptor, path) != before {
        throw ModuleFileError(path, EBUSY, "changed while it was read")
      }
    } catch {
      munmap(memory.baseAddress, memory.count)
      throw error
    }
    return memory
  }

  private static func fill(
    _ memory: UnsafeMutableRawBufferPointer, from descriptor: Int32, _ path: String
  ) throws(ModuleFileError) {
    var done = 0
    while done < memory.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: memory[done...])
      let count = pread(descriptor, rest.baseAddress, rest.count, off_t(done))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw ModuleFileError(path, errno, "cannot be read") }
      if count == 0 { throw ModuleFileError(path, EBUSY, "changed while it was read") }
      done += count
    }
  }

  /// A copy of `bytes`.
  ///
  /// - Throws: what `mmap(2)` says.
  package init(copying bytes: UnsafeRawBufferPointer, _ path: String) throws(ModuleFileError) {
    let memory = try Self.allocate(bytes.count, path)
    memory.copyMemory(from: bytes)
    self.memory = UnsafeRawBufferPointer(memory)
  }

  private static func allocate(
    _ size: Int, _ path: String
  ) throws(ModuleFileError) -> UnsafeMutableRawBufferPointer {
    if size == 0 { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
    let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    // MAP_FAILED is -1.
    if address == UnsafeMutableRawPointer(bitPattern: -1) {
      throw ModuleFileError(path, errno, "there is no memory for its content")
    }
    return UnsafeMutableRawBufferPointer(start: address, count: size)
  }

  deinit {
    if let address = memory.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: address), memory.count)
    }
  }

  /// Calls `body` with the bytes, which are valid until it returns.
  package borrowing func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result { try body(memory) }
}

/// What changes when a file is written.
package struct FileState: Equatable {
  package let size: Int
  private let times: [Int]

  package init(_ descriptor: Int32, _ path: String) throws(ModuleFileError) {
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw ModuleFileError(path, errno, "cannot be read") }
    size = Int(status.st_size)
    times = [
      status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
    ]
  }
}
