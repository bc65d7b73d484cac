internal import Glibc

/// All that the loader reads of an image, checked: it can be relocated, and its initializers can be
/// called, without a look outside the image.
struct ELFTables {
  let bytes: ELFBytes
  let header: Elf64_Ehdr
  let segments: ELFSegments
  let sections: ELFSections
  let dynamic: ELFDynamic
  let symbols: ELFSymbols
  let relocations: ELFRelocations
  let needed: [String]
  let soname: String?
  /// `DT_RUNPATH`, or else `DT_RPATH`, by folder.
  let searchPaths: [String]
  /// How many functions run when it is loaded, and when it is unloaded.
  private(set) var functions = (constructors: 0, destructors: 0)

  init(_ bytes: ELFBytes) throws(ELFFault) {
    self.bytes = bytes
    header = try Self.header(bytes)
    segments = try ELFSegments(bytes, header)
    sections = try ELFSections(bytes, header)
    dynamic = try ELFDynamic(bytes, segments)
    symbols = try ELFSymbols(bytes, dynamic, segments)
    var needed: [String] = []
    for offset in dynamic.needed { needed.append(try symbols.name(at: offset, "a DT_NEEDED")) }
    self.needed = needed
    var soname: String?
    var paths: [ELFDynamic.Tag: String] = [:]
    for (tag, offset) in dynamic.names {
      let isPath = tag == .path || tag == .runPath
      let name = try symbols.name(at: offset, "a name in its dynamic section", limit: isPath ? 1 << 16 : 4096)
      if tag == .soname { soname = name }
      if isPath { paths[tag] = name }
    }
    self.soname = soname
    searchPaths = (paths[.runPath] ?? paths[.path] ?? "").split(separator: ":").map(String.init)
    try symbols.check(segments)
    let versions = try ELFVersions(bytes, dynamic, segments, symbols, needed: needed)
    relocations = try ELFRelocations(bytes, dynamic, segments, symbols, versions)
    functions = try checkFunctions()
    try sections.checkBlocks(segments, tables: relocations.fileRanges)
  }

  private static func header(_ bytes: ELFBytes) throws(ELFFault) -> Elf64_Ehdr {
    let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
    if !bytes.part(0..<4).elementsEqual(magic) { throw ELFFault("not an ELF file") }
    guard let header = bytes.load(Elf64_Ehdr.self, at: 0), let head = bytes.load(SIMD16<UInt8>.self, at: 0)
    else {
      throw ELFFault("the ELF file is cut short")
    }
    // 64 bits, little-endian, version 1, of System V or GNU.
    if head[4] != 2 || head[5] != 1 || header.e_machine != ELFMachine.number {
      throw ELFFault("built for another kind of processor")
    }
    if head[6] != 1 || header.e_version != 1 || head[7] != 0 && head[7] != 3 {
      throw ELFFault("built for another kind of system")
    }
    // ET_DYN
    if header.e_type != 3 { throw ELFFault("not a shared object") }
    return header
  }
}

// MARK: - Pointers of the image

extension ELFTables {
  /// What a pointer holds after relocation; nil for a null pointer.
  func pointer(
    at place: UInt64, _ values: [UInt64: ELFRelocations.Value], _ what: String
  ) throws(ELFFault) -> ELFRelocations.Value? {
    if let value = values[place] {
      if value == .other { throw ELFFault("\(what) is no pointer") }
      return value
    }
    // Behind what is in the file there are zeros.
    guard let offset = segments.offset(of: place, 8), let word = bytes.load(UInt64.self, at: offset),
      word != 0
    else { return nil }
    throw ELFFault("\(what) is a pointer that is not relocated")
  }

  /// The text that a pointer leads to.
  func text(at value: ELFRelocations.Value, _ what: String) throws(ELFFault) -> String {
    guard case .inside(let address) = value, let offset = segments.offset(of: address, 1),
      let end = segments.fileEnd(around: address), let text = bytes.text(at: offset, before: end)
    else { throw ELFFault("\(what) lies outside its LOAD segments") }
    // As much as a line for people needs. Invalid text is no valid name either.
    if text.count > 4096 { throw ELFFault("\(what) is longer than 4096 bytes") }
    return String(decoding: text, as: UTF8.self)
  }

  func checkFunction(_ value: ELFRelocations.Value, _ what: String) throws(ELFFault) {
    if case .inside(let address) = value, !segments.isExecutable(address) {
      throw ELFFault("\(what) lies outside its code")
    }
  }

  private func checkFunctions() throws(ELFFault) -> (constructors: Int, destructors: Int) {
    var counts = [0, 0]
    for (index, tag, name) in [(0, ELFDynamic.Tag.initialize, "DT_INIT"), (1, .finish, "DT_FINI")] {
      guard let address = dynamic[tag] else { continue }
      try checkFunction(.inside(address), "its \(name)")
      counts[index] += 1
    }
    for (index, tag, size, name) in [
      (0, ELFDynamic.Tag.initializers, ELFDynamic.Tag.initializersSize, "DT_INIT_ARRAY"),
      (1, .finishers, .finishersSize, "DT_FINI_ARRAY"),
    ] {
      guard let table = try dynamic.table(tag, size, of: 8, name, in: segments), table.size > 0 else {
        continue
      }
      let values = try relocations.values(in: [table.range])
      for place in stride(from: table.address, to: table.address + table.size, by: 8) {
        guard let value = try pointer(at: place, values, "an entry of its \(name)") else {
          throw ELFFault("an entry of its \(name) is null")
        }
        try checkFunction(value, "an entry of its \(name)")
      }
      counts[index] += Int(table.size / 8)
    }
    return (counts[0], counts[1])
  }
}
