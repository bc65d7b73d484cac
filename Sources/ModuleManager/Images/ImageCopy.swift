internal import Glibc
internal import ModuleFiles
internal import Quiescence
internal import _ImageShims

/// A copy of a module's file for one load: nothing else has it, and nothing changes it. So what is
/// inspected is what is mapped; a file that is overwritten or truncated harms no host; and each
/// load has an image of its own, with its own statics.
///
/// It has no name in any folder, so nothing is left behind by a process that is killed. The loader
/// and debuggers open it as `/proc/PID/fd/N`, which works as long as its descriptor is
/// open: that is, while the image is mapped.
final class ImageCopy: Sendable {
  /// What the loader is given. No two images that are mapped have the same: the loader would take
  /// them for one.
  let path: String
  let descriptor: Int32
  let size: Int
  /// It is freed, or kept for good.
  private let end = Once()

  /// Reads the file once. Blocks for the file system.
  ///
  /// - Throws: what the system says; `EFBIG` above 1 GiB; `EBUSY` when the file changes meanwhile.
  init(of source: borrowing ImageSource, in place: CopyPlace = .memory) throws(ModuleError) {
    let file = source.path
    if source.size > FileContent.limit { throw ModuleError(file, EFBIG, "is larger than 1 GiB") }
    let (descriptor, isInMemory) = try Self.create(place, for: file)
    do throws(ModuleError) {
      size = try Self.copy(source.descriptor, to: descriptor, file)
      // A file in a folder has no name by which others could change it, and need not take seals.
      if isInMemory && qs_image_seal(descriptor) != 0 {
        throw ModuleError(file, errno, "its copy cannot be sealed")
      }
      path = try ImageNames.claim(descriptor, file)
      self.descriptor = descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  deinit { discard() }

  /// Frees the copy, when its image is unmapped or was never mapped. Idempotent.
  func discard() {
    if !end.take() { return }
    ImageNames.release(path)
    close(descriptor)
  }

  /// Keeps the copy as long as the process: its image stays mapped.
  func keep() {
    if end.take() { ImageNames.keep(descriptor) }
  }

  /// The content, for the inspection.
  func content(_ file: String) throws(ModuleError) -> FileContent {
    try ModuleError.ofFiles { () throws(ModuleFileError) in
      try FileContent(of: descriptor, file)
    }
  }
}

// MARK: - Creating

extension ImageCopy {
  private static func create(
    _ place: CopyPlace, for file: String
  ) throws(ModuleError) -> (descriptor: Int32, isInMemory: Bool) {
    if place == .memory {
      // The end of the path, as long as a name may be: `/proc/PID/maps` shows it.
      let descriptor = qs_image_create_in_memory(String(decoding: file.utf8.suffix(240), as: UTF8.self))
      if descriptor >= 0 {
        if mayBeExecuted(descriptor) { return (descriptor, true) }
        close(descriptor)
      }
    }
    var error = ENOENT
    for folder in folders {
      let descriptor = createFile(in: folder)
      if descriptor < 0 {
        error = errno
        continue
      }
      if mayBeExecuted(descriptor) { return (descriptor, false) }
      error = EACCES
      close(descriptor)
    }
    throw ModuleError(
      file, error,
      "there is no place for its copy: neither files in memory nor those in "
        + "\(folders.joined(separator: ", ")) may be executed")
  }

  private static var folders: [String] {
    (getenv("TMPDIR").map { [String(cString: $0)] } ?? []) + ["/tmp", "/var/tmp", "/dev/shm"]
  }

  /// Whether the file may be mapped for execution: some systems forbid it for files in memory, and
  /// file systems can be mounted so.
  private static func mayBeExecuted(_ descriptor: Int32) -> Bool {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let address = mmap(nil, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, 0)
    // MAP_FAILED is -1.
    if address == UnsafeMutableRawPointer(bitPattern: -1) { return false }
    munmap(address, page)
    return true
  }

  /// A file without a name. -1 and errno.
  private static func createFile(in folder: String) -> Int32 {
    let descriptor = qs_image_create_in(folder)
    if descriptor >= 0 || errno != EOPNOTSUPP && errno != EISDIR { return descriptor }
    // A file system that has only files with names: in a folder of its own, until it is open.
    var template = Array("\(folder)/quiescence-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { return -1 }
    let ownFolder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    let path = "\(ownFolder)/module.so"
    let named = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    let error = errno
    unlink(path)
    rmdir(ownFolder)
    errno = error
    return named
  }

  /// Copies all of a file. Returns its size.
  private static func copy(_ source: Int32, to target: Int32, _ file: String) throws(ModuleError) -> Int {
    let before = try state(source, file)
    let capacity = 1 << 16
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
    defer { buffer.deallocate() }
    var size = 0
    while true {
      let count = read(source, buffer.baseAddress, capacity)
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw ModuleError(file, errno, "cannot be read") }
      if count == 0 { break }
      size += count
      if size > FileContent.limit { throw ModuleError(file, EFBIG, "is larger than 1 GiB") }
      var written = 0
      while written < count {
        let more = write(target, buffer.baseAddress! + written, count - written)
        if more < 0 && errno == EINTR { continue }
        if more <= 0 { throw ModuleError(file, errno, "its copy cannot be written") }
        written += more
      }
    }
    // A writer in the middle of it would make an image of two files.
    if size != before.size { throw ModuleError(file, EBUSY, "changed while it was read") }
    if try state(source, file) != before { throw ModuleError(file, EBUSY, "changed while it was read") }
    return size
  }

  private static func state(_ descriptor: Int32, _ file: String) throws(ModuleError) -> FileState {
    try ModuleError.ofFiles { () throws(ModuleFileError) in try FileState(descriptor, file) }
  }
}

/// Where copies of images are.
package enum CopyPlace: Sendable, CaseIterable {
  /// Sealed files in memory, memfd_create(2).
  case memory
  /// Files without a name in a folder for temporary files, where files in memory may not be
  /// executed.
  case file
}
