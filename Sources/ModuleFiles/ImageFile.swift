internal import CModuleABI
internal import Glibc

/// A shared object's file, read before the loader maps it: for answers that a person understands,
/// and for what a module says about itself.
///
/// Every offset and size comes from the file and may be anything: each is checked against the file
/// before use.
///
/// Source: elf(5).
package struct ImageFile: ~Copyable {
  private let path: String
  private let descriptor: Int32
  private let header: Elf64_Ehdr

  /// Opens the file. Throws when it is no shared object for this machine, or shorter than its
  /// headers say.
  package init(_ path: String) throws(ModuleFileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleFileError(path, errno, "cannot be opened") }
    do throws(ModuleFileError) { header = try Self.header(descriptor, path) } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func header(_ descriptor: Int32, _ path: String) throws(ModuleFileError) -> Elf64_Ehdr {
    var header = Elf64_Ehdr()
    let size = MemoryLayout<Elf64_Ehdr>.size
    let count = pread(descriptor, &header, size, 0)
    if count < 0 { throw ModuleFileError(path, errno, "cannot be read") }
    let magic = withUnsafeBytes(of: &header) { Array($0.prefix(4)) }
    if magic != [0x7f, 0x45, 0x4c, 0x46] { throw ModuleFileError(path, ENOEXEC, "not an ELF file") }
    if count < size { throw ModuleFileError(path, ENOEXEC, "the ELF file is cut short") }
    let isELF64 = withUnsafeBytes(of: &header) { $0[4] == 2 }
    if !isELF64 || header.e_machine != Machine.number {
      throw ModuleFileError(path, ENOEXEC, "built for another kind of processor")
    }
    if header.e_type != 3 { throw ModuleFileError(path, ENOEXEC, "not a shared object") }
    if !holdsItsSegments(descriptor, header) {
      throw ModuleFileError(path, ENOEXEC, "the ELF file is cut short")
    }
    return header
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
      guard let segment: Elf64_Phdr = read(descriptor, at: header.e_phoff + index * UInt64(size)) else {
        return false
      }
      if segment.p_type != PT_LOAD { continue }
      let (end, overflow) = segment.p_offset.addingReportingOverflow(segment.p_filesz)
      if overflow || end > length { return false }
    }
    return true
  }

  private static func read<Header: BitwiseCopyable>(_ descriptor: Int32, at offset: UInt64) -> Header? {
    guard offset <= UInt64(Int64.max) else { return nil }
    return withUnsafeTemporaryAllocation(of: Header.self, capacity: 1) { buffer in
      let count = pread(descriptor, buffer.baseAddress, MemoryLayout<Header>.size, off_t(offset))
      return count == MemoryLayout<Header>.size ? buffer[0] : nil
    }
  }
}

// MARK: - Sections

extension ImageFile {
  /// The bytes of a section; none when there is no such section, or no table of sections.
  package func section(_ name: String) throws(ModuleFileError) -> [UInt8] {
    if !hasSections || header.e_shstrndx >= header.e_shnum { return [] }
    let names = try bytes(of: section(at: UInt32(header.e_shstrndx)))
    for index in 0..<UInt32(header.e_shnum) {
      let section = try section(at: index)
      if Int(section.sh_name) < names.count
        && names[Int(section.sh_name)...].starts(with: Array(name.utf8) + [0])
      {
        return try bytes(of: section)
      }
    }
    return []
  }

  private var hasSections: Bool {
    header.e_shnum > 0 && Int(header.e_shentsize) == MemoryLayout<Elf64_Shdr>.size
  }

  private func section(at index: UInt32) throws(ModuleFileError) -> Elf64_Shdr {
    let size = UInt64(MemoryLayout<Elf64_Shdr>.size)
    let (place, overflow) = header.e_shoff.addingReportingOverflow(UInt64(index) * size)
    guard !overflow, let section: Elf64_Shdr = Self.read(descriptor, at: place) else {
      throw ModuleFileError(path, ENOEXEC, "the ELF file's sections are cut short")
    }
    return section
  }

  private func bytes(of section: Elf64_Shdr) throws(ModuleFileError) -> [UInt8] {
    // More than a module says about itself, and less than what a broken file could ask for.
    guard section.sh_size <= 1 << 24, section.sh_offset <= UInt64(Int64.max) else {
      throw ModuleFileError(path, ENOEXEC, "the ELF file's sections are too large")
    }
    var bytes = [UInt8](repeating: 0, count: Int(section.sh_size))
    if pread(descriptor, &bytes, bytes.count, off_t(section.sh_offset)) != bytes.count {
      throw ModuleFileError(path, ENOEXEC, "the ELF file's sections are cut short")
    }
    return bytes
  }

  /// The records of the first section of a kind, and that section's header.
  private func records<Record: BitwiseCopyable>(
    _ kind: UInt32, of: Record.Type
  ) -> (section: Elf64_Shdr, records: [Record])? {
    if !hasSections { return nil }
    for index in 0..<UInt32(header.e_shnum) {
      guard let section = try? section(at: index), section.sh_type == kind else { continue }
      guard let bytes = try? bytes(of: section) else { return nil }
      let size = MemoryLayout<Record>.stride
      let records = bytes.withUnsafeBytes { buffer in
        (0..<buffer.count / size).map { buffer.loadUnaligned(fromByteOffset: $0 * size, as: Record.self) }
      }
      return (section, records)
    }
    return nil
  }
}

// MARK: - What the module calls itself

extension ImageFile {
  /// The `name` of the exported `struct quiescent_module`. Nil when there is no such symbol, or
  /// when the pointer to the name is known only after relocation against another image.
  ///
  /// - Complexity: O(dynamic symbols and relocations of the file).
  package var moduleName: String? {
    guard let entry = address(ofSymbol: QUIESCENT_MODULE_SYMBOL),
      let field = MemoryLayout<quiescent_module>.offset(of: \.name)
    else { return nil }
    let (place, overflow) = entry.addingReportingOverflow(UInt64(field))
    guard !overflow, let address = pointer(at: place) else { return nil }
    return string(at: address)
  }

  private func address(ofSymbol name: String) -> UInt64? {
    guard let (table, symbols) = records(Machine.dynamicSymbols, of: Elf64_Sym.self),
      table.sh_link < UInt32(header.e_shnum), let section = try? section(at: table.sh_link),
      let names = try? bytes(of: section)
    else { return nil }
    let wanted = Array(name.utf8) + [0]
    let symbol = symbols.first { symbol in
      symbol.st_shndx != 0 && Int(symbol.st_name) < names.count
        && names[Int(symbol.st_name)...].starts(with: wanted)
    }
    return symbol?.st_value
  }

  /// What the pointer at `place` holds once the image is mapped at 0.
  private func pointer(at place: UInt64) -> UInt64? {
    if let (_, relocations) = records(Machine.relocations, of: Elf64_Rela.self),
      let relocation = relocations.first(where: { $0.r_offset == place })
    {
      let addend = UInt64(bitPattern: Int64(relocation.r_addend))
      let kind = UInt32(truncatingIfNeeded: relocation.r_info)
      if kind == Machine.relative { return addend }
      guard kind == Machine.absolute,
        let (_, symbols) = records(Machine.dynamicSymbols, of: Elf64_Sym.self)
      else { return nil }
      let index = Int(relocation.r_info >> 32)
      guard index < symbols.count, symbols[index].st_shndx != 0 else { return nil }
      return symbols[index].st_value &+ addend
    }
    // Packed relative relocations (DT_RELR) keep the addend in place.
    guard let offset = offset(of: place), let value: UInt64 = Self.read(descriptor, at: offset), value != 0
    else { return nil }
    return value
  }

  /// The zero-terminated text at an address; nil when it is longer than any name, or no text.
  private func string(at address: UInt64) -> String? {
    guard let offset = offset(of: address), offset <= UInt64(Int64.max) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = pread(descriptor, &bytes, bytes.count, off_t(offset))
    guard count > 0, let end = bytes[..<count].firstIndex(of: 0) else { return nil }
    return String(validating: bytes[..<end], as: UTF8.self)
  }

  /// Where the byte at an address lies in the file.
  private func offset(of address: UInt64) -> UInt64? {
    for index in 0..<UInt64(header.e_phnum) {
      let place = header.e_phoff + index * UInt64(MemoryLayout<Elf64_Phdr>.size)
      guard let segment: Elf64_Phdr = Self.read(descriptor, at: place) else { return nil }
      if segment.p_type == PT_LOAD, address >= segment.p_vaddr,
        address - segment.p_vaddr < segment.p_filesz
      {
        return segment.p_offset &+ (address - segment.p_vaddr)
      }
    }
    return nil
  }
}

/// The numbers of elf(5) that the C library's module leaves out, and those of this processor.
private enum Machine {
  /// `SHT_RELA` and `SHT_DYNSYM`.
  static let relocations: UInt32 = 4, dynamicSymbols: UInt32 = 11

  #if arch(x86_64)
    /// `EM_X86_64`, `R_X86_64_RELATIVE` and `R_X86_64_64`.
    static let number: UInt16 = 62, relative: UInt32 = 8, absolute: UInt32 = 1
  #elseif arch(arm64)
    /// `EM_AARCH64`, `R_AARCH64_RELATIVE` and `R_AARCH64_ABS64`.
    static let number: UInt16 = 183, relative: UInt32 = 1027, absolute: UInt32 = 257
  #elseif arch(riscv64)
    /// `EM_RISCV`, `R_RISCV_RELATIVE` and `R_RISCV_64`.
    static let number: UInt16 = 243, relative: UInt32 = 3, absolute: UInt32 = 2
  #else
    #error("name this processor's e_machine and relocations")
  #endif
}
