internal import Glibc

/// The program headers of an image, checked for all that the loader takes on trust: it maps what
/// they promise without a look at the file's length, and touching a page behind the end of the file
/// is SIGBUS.
///
/// Source: glibc elf/dl-load.c, `_dl_map_object_from_fd` and `_dl_map_segments`.
struct ELFSegments {
  /// The segments that are mapped, by address.
  private(set) var loads: [Elf64_Phdr] = []
  /// The segment that holds the dynamic section.
  let dynamic: Elf64_Phdr
  /// The template of thread-local storage, unless it is empty.
  let threadLocals: Elf64_Phdr?

  /// More are not needed; the loader keeps them on its stack.
  private static let limit = 128
  /// The address space that an image may take.
  private static let span: UInt64 = 1 << 40

  init(_ bytes: ELFBytes, _ header: Elf64_Ehdr) throws(ELFFault) {
    let size = UInt64(MemoryLayout<Elf64_Phdr>.size)
    if UInt64(header.e_phentsize) != size { throw ELFFault("its program headers are of another size") }
    if Int(header.e_phnum) > Self.limit { throw ELFFault("it has more than \(Self.limit) program headers") }
    var others: [UInt32: [Elf64_Phdr]] = [:]
    for index in 0..<UInt64(header.e_phnum) {
      guard let segment = bytes.load(Elf64_Phdr.self, at: header.e_phoff.plus(index * size)) else {
        throw ELFFault("the ELF file is cut short")
      }
      if segment.p_type == PT_LOAD {
        try Self.check(segment, after: loads.last, bytes)
        loads.append(segment)
      } else {
        others[segment.p_type, default: []].append(segment)
      }
    }
    if loads.isEmpty { throw ELFFault("it has no LOAD segment") }
    for (type, name) in Self.single where others[type, default: []].count > 1 {
      throw ELFFault("it has several \(name) segments")
    }
    guard let dynamic = others[UInt32(PT_DYNAMIC)]?[0] else { throw ELFFault("it has no dynamic section") }
    self.dynamic = dynamic
    threadLocals = others[UInt32(PT_TLS)].flatMap { $0[0].p_memsz == 0 ? nil : $0[0] }
    try check(others, bytes, header)
  }

  private static let single: [(UInt32, String)] = [
    (UInt32(PT_DYNAMIC), "DYNAMIC"), (UInt32(PT_TLS), "TLS"), (UInt32(PT_PHDR), "PHDR"),
    (stack, "GNU_STACK"), (relro, "GNU_RELRO"), (unwinding, "GNU_EH_FRAME"), (property, "GNU_PROPERTY"),
  ]
  /// `PT_GNU_EH_FRAME`, `PT_GNU_STACK`, `PT_GNU_RELRO`, `PT_GNU_PROPERTY`.
  private static let unwinding: UInt32 = 0x6474_e550, stack: UInt32 = 0x6474_e551,
    relro: UInt32 = 0x6474_e552, property: UInt32 = 0x6474_e553

  static let pageSize = UInt64(sysconf(Int32(_SC_PAGESIZE)))
}

// MARK: - Checks

extension ELFSegments {
  private static func check(
    _ segment: Elf64_Phdr, after last: Elf64_Phdr?, _ bytes: ELFBytes
  ) throws(ELFFault) {
    if !bytes.holds(segment.p_offset, segment.p_filesz) { throw ELFFault("the ELF file is cut short") }
    let end = segment.p_vaddr.plus(segment.p_memsz)
    if segment.p_memsz == 0 || segment.p_filesz > segment.p_memsz || end > span {
      throw ELFFault("a LOAD segment is larger in the file than in memory, empty or too large")
    }
    let alignment = segment.p_align
    if alignment < pageSize || alignment > 1 << 30 || alignment & (alignment - 1) != 0
      || !(segment.p_vaddr &- segment.p_offset).isAligned(to: alignment)
    {
      throw ELFFault("a LOAD segment is not aligned to pages")
    }
    // The rest of the last page is filled with zeros, also where nothing is read from the file.
    let isPadded = !segment.p_vaddr.plus(segment.p_filesz).isAligned(to: pageSize)
    if isPadded && segment.p_memsz > segment.p_filesz
      && segment.p_offset.plus(segment.p_filesz) & ~(pageSize - 1) >= bytes.count
    {
      throw ELFFault("the ELF file is cut short")
    }
    // The loader maps each over what is there, so a page has to belong to one of them.
    if let last, segment.p_vaddr & ~(pageSize - 1) < (last.p_vaddr + last.p_memsz).rounded(upTo: pageSize) {
      throw ELFFault("its LOAD segments overlap or are not in order")
    }
  }

  private func check(
    _ others: [UInt32: [Elf64_Phdr]], _ bytes: ELFBytes, _ header: Elf64_Ehdr
  ) throws(ELFFault) {
    // The loader writes into it where its flags say so, and older loaders do always.
    if offset(of: dynamic.p_vaddr, dynamic.p_filesz) == nil || dynamic.p_memsz > dynamic.p_filesz
      || !dynamic.p_vaddr.isAligned(to: 8)
    {
      throw ELFFault("its dynamic section lies outside its LOAD segments")
    }
    if !isWritable(dynamic.p_vaddr, dynamic.p_filesz) {
      throw ELFFault("its dynamic section is not writable")
    }
    if let segment = threadLocals { try check(threadLocals: segment) }
    if let segment = others[UInt32(PT_PHDR)]?[0] {
      let size = UInt64(header.e_phnum) * UInt64(header.e_phentsize)
      if offset(of: segment.p_vaddr, size) != header.e_phoff {
        throw ELFFault("its PHDR segment is not where its program headers are")
      }
    }
    if let segment = others[Self.relro]?[0], segment.p_memsz > 0, !isWritable(pagesOf: segment) {
      throw ELFFault("its GNU_RELRO segment lies outside its writable segments")
    }
    if let segment = others[Self.unwinding]?[0], offset(of: segment.p_vaddr, segment.p_filesz) == nil {
      throw ELFFault("its GNU_EH_FRAME segment lies outside its LOAD segments")
    }
    guard let stack = others[Self.stack]?[0], stack.p_flags & UInt32(PF_X) == 0 else {
      throw ELFFault("it asks for executable stacks in the whole process")
    }
    for segment in others[UInt32(PT_NOTE), default: []] + others[Self.property, default: []] {
      try check(notes: segment, bytes)
    }
  }

  /// The loader divides by the alignment, and allocates as much for each thread.
  private func check(threadLocals segment: Elf64_Phdr) throws(ELFFault) {
    let alignment = segment.p_align
    if alignment == 0 || alignment > 1 << 20 || alignment & (alignment - 1) != 0
      || segment.p_filesz > segment.p_memsz || segment.p_memsz > 1 << 26
    {
      throw ELFFault("its TLS segment has a size or alignment that is none")
    }
    if segment.p_filesz > 0 && offset(of: segment.p_vaddr, segment.p_filesz) == nil {
      throw ELFFault("its TLS segment lies outside its LOAD segments")
    }
  }

  /// Loaders walk notes for properties of the image's code.
  private func check(notes segment: Elf64_Phdr, _ bytes: ELFBytes) throws(ELFFault) {
    if segment.p_memsz == 0 { return }
    let alignment = segment.p_align <= 4 ? 4 : segment.p_align
    guard var place = offset(of: segment.p_vaddr, segment.p_memsz), alignment == 4 || alignment == 8 else {
      throw ELFFault("a NOTE segment lies outside its LOAD segments")
    }
    let end = place + segment.p_memsz
    while place < end {
      guard place.plus(12) <= end, let sizes = bytes.load(SIMD2<UInt32>.self, at: place) else { break }
      place = place.plus(12).plus(UInt64(sizes[0]).rounded(upTo: 4)).rounded(upTo: alignment)
      place = place.plus(UInt64(sizes[1]))
      // The last one needs no padding.
      if place <= end { place = min(place.rounded(upTo: alignment), end) }
    }
    if place != end { throw ELFFault("a NOTE segment holds what is no note") }
  }
}

// MARK: - Addresses

extension ELFSegments {
  private func load(at address: UInt64, _ count: UInt64) -> Elf64_Phdr? {
    loads.first { address >= $0.p_vaddr && address.plus(count) <= $0.p_vaddr + $0.p_memsz }
  }

  /// Where the bytes at an address lie in the file; nil when not all of them come from there, or
  /// they come from several segments.
  func offset(of address: UInt64, _ count: UInt64) -> UInt64? {
    guard let load = load(at: address, count), address.plus(count) <= load.p_vaddr + load.p_filesz else {
      return nil
    }
    return load.p_offset + (address - load.p_vaddr)
  }

  /// Where the part of the segment ends, in the file, that holds the byte at an address of a file's
  /// byte.
  func fileEnd(around address: UInt64) -> UInt64? {
    load(at: address, 1).map { $0.p_offset + $0.p_filesz }
  }

  /// Whether the bytes at an address are in the memory of one segment.
  func holds(_ address: UInt64, _ count: UInt64) -> Bool { load(at: address, count) != nil }

  /// Whether the bytes at an address are in one segment that may be written.
  func isWritable(_ address: UInt64, _ count: UInt64) -> Bool {
    load(at: address, count).map { $0.p_flags & UInt32(PF_W) != 0 } ?? false
  }

  /// Whether the whole pages of `segment` belong to one segment that may be written. A page outside
  /// would lose its writability in the middle of the host.
  private func isWritable(pagesOf segment: Elf64_Phdr) -> Bool {
    let end = segment.p_vaddr.plus(segment.p_memsz) & ~(Self.pageSize - 1)
    guard let load = load(at: segment.p_vaddr, 1), load.p_flags & UInt32(PF_W) != 0 else { return false }
    return end <= (load.p_vaddr + load.p_memsz).rounded(upTo: Self.pageSize)
  }

  /// Whether there is code of the file at an address.
  func isExecutable(_ address: UInt64) -> Bool {
    guard let load = load(at: address, 1) else { return false }
    return load.p_flags & UInt32(PF_X) != 0 && address < load.p_vaddr + load.p_filesz
  }

  /// The addresses from the first to the last byte.
  var bounds: ClosedRange<UInt64> {
    loads[0].p_vaddr...loads[loads.count - 1].p_vaddr + loads[loads.count - 1].p_memsz
  }
}
