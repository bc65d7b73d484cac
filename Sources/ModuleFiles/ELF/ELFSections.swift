internal import Glibc

/// The section headers of an image: the loader does not read them, but debuggers and this library
/// do. None in a file that was stripped of them.
struct ELFSections {
  private let bytes: ELFBytes
  private var all: [Elf64_Shdr] = []
  private var names: Range<UInt64> = 0..<0

  init(_ bytes: ELFBytes, _ header: Elf64_Ehdr) throws(ELFFault) {
    self.bytes = bytes
    if header.e_shoff == 0 && header.e_shnum == 0 { return }
    let size = UInt64(MemoryLayout<Elf64_Shdr>.size)
    if UInt64(header.e_shentsize) != size || header.e_shstrndx >= header.e_shnum {
      throw ELFFault("the ELF file's sections have numbers that are none")
    }
    if !bytes.holds(header.e_shoff, UInt64(header.e_shnum) * size) {
      throw ELFFault("the ELF file's sections are cut short")
    }
    all.reserveCapacity(Int(header.e_shnum))
    for index in 0..<UInt64(header.e_shnum) {
      guard let section = bytes.load(Elf64_Shdr.self, at: header.e_shoff + index * size) else { break }
      // SHT_NULL and SHT_NOBITS have nothing in the file.
      if section.sh_type == 0 && index > 0 {
        throw ELFFault("the ELF file's sections are damaged: number \(index) is empty")
      }
      if section.sh_type != 0 && section.sh_type != 8 && !bytes.holds(section.sh_offset, section.sh_size) {
        throw ELFFault("the ELF file's sections are cut short")
      }
      all.append(section)
    }
    let table = all[Int(header.e_shstrndx)]
    // SHT_STRTAB
    if table.sh_type != 3 { throw ELFFault("the ELF file's sections are damaged: they have no names") }
    names = table.sh_offset..<table.sh_offset + table.sh_size
  }

  private func name(of section: Elf64_Shdr) -> UnsafeRawBufferPointer? {
    bytes.text(at: names.lowerBound.plus(UInt64(section.sh_name)), before: names.upperBound)
  }

  private func isNamed(_ section: Elf64_Shdr, _ matches: (UnsafeRawBufferPointer) -> Bool) -> Bool {
    name(of: section).map(matches) ?? false
  }

  /// Where the content of a section lies in the file; nil when there is no such section.
  func range(of name: String) -> Range<UInt64>? {
    all.first { section in section.sh_type != 8 && isNamed(section) { $0.elementsEqual(name.utf8) } }
      .map { $0.sh_offset..<$0.sh_offset + $0.sh_size }
  }

  func hasSection(startingWith prefix: String) -> Bool {
    all.contains { section in isNamed(section) { $0.starts(with: prefix.utf8) } }
  }

  /// Where code lies in the file.
  private var codeSections: [Range<UInt64>] {
    // SHF_ALLOC and SHF_EXECINSTR; not SHT_NOBITS.
    all.filter { $0.sh_flags & 6 == 6 && $0.sh_type != 8 }.map { $0.sh_offset..<$0.sh_offset + $0.sh_size }
  }

  /// Refuses a file whose code or tables have a hole: a block of zeros is what a power loss leaves
  /// of a block that was not written. In data it cannot be told from data.
  ///
  /// - Parameters:
  ///   - segments: Where the code is when there are no sections.
  ///   - tables: Other parts of the file in which a linker leaves no block of zeros.
  func checkBlocks(_ segments: ELFSegments, tables: [Range<UInt64>]) throws(ELFFault) {
    let executable = segments.loads.filter { $0.p_flags & UInt32(PF_X) != 0 }
    let code: [Range<UInt64>] =
      all.isEmpty ? executable.map { $0.p_offset..<$0.p_offset + $0.p_filesz } : codeSections
    // Code may end with an operand of zeros, of at most four bytes.
    for range in code { try checkBlocks(of: range, longerThan: 4, "code") }
    for range in tables { try checkBlocks(of: range, longerThan: 8, "tables") }
  }

  /// The smallest block of a disk.
  private static let block: UInt64 = 512

  private func checkBlocks(of range: Range<UInt64>, longerThan least: UInt64, _ what: String) throws(ELFFault)
  {
    var start = range.lowerBound & ~(Self.block - 1)
    while start < range.upperBound {
      defer { start += Self.block }
      let block = start..<start + Self.block
      let part = block.clamped(to: range)
      if part.upperBound - part.lowerBound > least && bytes.part(block).allSatisfy({ $0 == 0 }) {
        throw ELFFault("its \(what) have a block of zeros at \(start): the file was not written to its end")
      }
    }
  }
}
