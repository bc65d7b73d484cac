internal import Glibc

/// A look at a file before the loader maps it, for answers that a person understands.
///
/// Source: elf(5).
enum ImageFile {
  /// Throws when the file is no shared object for this machine.
  static func check(_ path: String) throws(ModuleError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleError(path, errno, "cannot be opened") }
    defer { close(descriptor) }
    var header = Elf64_Ehdr()
    let size = MemoryLayout<Elf64_Ehdr>.size
    let count = pread(descriptor, &header, size, 0)
    if count < 0 { throw ModuleError(path, errno, "cannot be read") }
    let magic = withUnsafeBytes(of: &header) { Array($0.prefix(4)) }
    if magic != [0x7f, 0x45, 0x4c, 0x46] { throw ModuleError(path, ENOEXEC, "not an ELF file") }
    if count < size { throw ModuleError(path, ENOEXEC, "the ELF file is cut short") }
    let isELF64 = withUnsafeBytes(of: &header) { $0[4] == 2 }
    if !isELF64 || header.e_machine != machine {
      throw ModuleError(path, ENOEXEC, "built for another kind of processor")
    }
    if header.e_type != 3 { throw ModuleError(path, ENOEXEC, "not a shared object") }
    if !holdsItsSegments(descriptor, header) {
      throw ModuleError(path, ENOEXEC, "the ELF file is cut short")
    }
  }

  /// The bytes of a section; none when there is no such section, or no table of sections. `check`
  /// has passed.
  static func section(_ name: String, of path: String) throws(ModuleError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleError(path, errno, "cannot be opened") }
    defer { close(descriptor) }
    guard let header: Elf64_Ehdr = read(descriptor, at: 0) else {
      throw ModuleError(path, ENOEXEC, "the ELF file is cut short")
    }
    let size = UInt64(MemoryLayout<Elf64_Shdr>.size)
    if header.e_shnum == 0 || UInt64(header.e_shentsize) != size { return [] }
    func section(_ index: UInt16) throws(ModuleError) -> Elf64_Shdr {
      let (place, overflow) = header.e_shoff.addingReportingOverflow(UInt64(index) * size)
      guard !overflow, let section: Elf64_Shdr = read(descriptor, at: place) else {
        throw ModuleError(path, ENOEXEC, "the ELF file's sections are cut short")
      }
      return section
    }
    func bytes(_ section: Elf64_Shdr) throws(ModuleError) -> [UInt8] {
      // More than a module says about itself, and less than what a broken file could ask for.
      guard section.sh_size <= 1 << 24, section.sh_offset <= UInt64(Int64.max) else {
        throw ModuleError(path, ENOEXEC, "the ELF file's sections are too large")
      }
      var bytes = [UInt8](repeating: 0, count: Int(section.sh_size))
      if pread(descriptor, &bytes, bytes.count, off_t(section.sh_offset)) != bytes.count {
        throw ModuleError(path, ENOEXEC, "the ELF file's sections are cut short")
      }
      return bytes
    }
    if header.e_shstrndx >= header.e_shnum { return [] }
    let names = try bytes(section(header.e_shstrndx))
    for index in 0..<header.e_shnum {
      let section = try section(index)
      if Int(section.sh_name) < names.count
        && names[Int(section.sh_name)...].starts(with: Array(name.utf8) + [0])
      {
        return try bytes(section)
      }
    }
    return []
  }

  private static func read<Header: BitwiseCopyable>(_ descriptor: Int32, at offset: UInt64) -> Header? {
    guard offset <= UInt64(Int64.max) else { return nil }
    return withUnsafeTemporaryAllocation(of: Header.self, capacity: 1) { buffer in
      let count = pread(descriptor, buffer.baseAddress, MemoryLayout<Header>.size, off_t(offset))
      return count == MemoryLayout<Header>.size ? buffer[0] : nil
    }
  }

  /// The loader maps what the program headers promise without a look at the file's length, and
  /// touching a page behind the end of the file is SIGBUS.
  private static func holdsItsSegments(_ descriptor: Int32, _ header: Elf64_Ehdr) -> Bool {
    var status = stat()
    if fstat(descriptor, &status) != 0 { return false }
    let length = UInt64(clamping: status.st_size)
    let size = MemoryLayout<Elf64_Phdr>.size
    if Int(header.e_phentsize) != size || header.e_phoff > length { return false }
    for index in 0..<UInt64(header.e_phnum) {
      var segment = Elf64_Phdr()
      if pread(descriptor, &segment, size, off_t(header.e_phoff + index * UInt64(size))) != size {
        return false
      }
      if segment.p_type != PT_LOAD { continue }
      let (end, overflow) = segment.p_offset.addingReportingOverflow(segment.p_filesz)
      if overflow || end > length { return false }
    }
    return true
  }

  /// `e_machine` of this process.
  private static var machine: UInt16 {
    #if arch(x86_64)
      62
    #elseif arch(arm64)
      183
    #elseif arch(riscv64)
      243
    #else
      #error("name this processor's e_machine")
    #endif
  }
}
