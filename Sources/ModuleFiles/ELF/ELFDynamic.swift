internal import Glibc

/// The dynamic section of an image, by which the loader finds everything else, and the tables that
/// it names. The loader checks neither the addresses nor the sizes in it, and asserts the rest.
///
/// Source: glibc elf/get-dynamic-info.h.
struct ELFDynamic {
  /// A tag that the loader reads.
  enum Tag: UInt64 {
    case needed = 1
    case pltRelocationsSize = 2
    case hash = 4
    case strings = 5
    case symbols = 6
    case relocations = 7
    case relocationsSize = 8
    case relocationSize = 9
    case stringsSize = 10
    case symbolSize = 11
    case initialize = 12
    case finish = 13
    case soname = 14
    case path = 15
    case otherRelocations = 17
    case pltRelocationKind = 20
    case textRelocations = 22
    case pltRelocations = 23
    case initializers = 25
    case finishers = 26
    case initializersSize = 27
    case finishersSize = 28
    case runPath = 29
    case flags = 30
    case preinitializers = 32
    case packedRelocationsSize = 35
    case packedRelocations = 36
    case packedRelocationSize = 37
    case prelinked = 0x6fff_fdf5
    case gnuHash = 0x6fff_fef5
    case symbolVersions = 0x6fff_fff0
    case relativeCount = 0x6fff_fff9
    case flags1 = 0x6fff_fffb
    case definedVersions = 0x6fff_fffc
    case neededVersions = 0x6fff_fffe
    case auxiliary = 0x7fff_fffd
    case filter = 0x7fff_ffff
  }

  let range: Range<UInt64>
  /// Of a tag that occurs several times, the last value counts.
  private var values: [Tag: UInt64] = [:]
  /// The names of the libraries that it needs, as offsets in the table of strings.
  private(set) var needed: [UInt64] = []
  /// Tags whose values are names, and the values.
  private(set) var names: [(tag: Tag, offset: UInt64)] = []

  /// The loader keeps a record for each on its stack.
  private static let limit = 1024

  init(_ bytes: ELFBytes, _ segments: ELFSegments) throws(ELFFault) {
    let segment = segments.dynamic
    range = segment.p_vaddr..<segment.p_vaddr + segment.p_filesz
    // It is inside the file: see ELFSegments.
    guard var place = segments.offset(of: segment.p_vaddr, segment.p_filesz) else {
      throw ELFFault("its dynamic section lies outside its LOAD segments")
    }
    let end = place + segment.p_filesz
    while true {
      guard place.plus(16) <= end, let entry = bytes.load(SIMD2<UInt64>.self, at: place) else {
        throw ELFFault("its dynamic section has no end")
      }
      place += 16
      let (number, value) = (entry[0], entry[1])
      if number == 0 { break }
      // The loader looks at the lower half of some tags alone.
      if number > 0x7fff_ffff { throw ELFFault("its dynamic section holds what is no tag") }
      guard let tag = Tag(rawValue: number) else { continue }
      switch tag {
      case .needed: needed.append(value)
      case .soname, .path, .runPath, .auxiliary, .filter: names.append((tag, value))
      default: break
      }
      if needed.count + names.count > Self.limit { throw ELFFault("it needs too many libraries") }
      values[tag] = value
    }
    try check()
  }

  subscript(_ tag: Tag) -> UInt64? { values[tag] }

  private func check() throws(ELFFault) {
    if self[.otherRelocations] != nil { throw ELFFault("its relocations are of a kind of another processor") }
    // DF_TEXTREL
    if self[.textRelocations] != nil || (self[.flags] ?? 0) & 4 != 0 {
      throw ELFFault("its code is to be changed when it is loaded (DT_TEXTREL)")
    }
    // DF_1_PIE
    if flags1 & 0x0800_0000 != 0 { throw ELFFault("a program, not a shared object") }
    if self[.preinitializers] != nil || self[.prelinked] != nil {
      throw ELFFault("it has what is for programs alone (DT_PREINIT_ARRAY, prelink)")
    }
    for (tag, size, name) in [
      (Tag.symbolSize, UInt64(MemoryLayout<Elf64_Sym>.size), "DT_SYMENT"),
      (.relocationSize, UInt64(MemoryLayout<Elf64_Rela>.size), "DT_RELAENT"),
      // DT_RELA
      (.pltRelocationKind, 7, "DT_PLTREL"), (.packedRelocationSize, 8, "DT_RELRENT"),
    ] {
      if let value = self[tag], value != size { throw ELFFault("its \(name) is \(value), not \(size)") }
    }
    if [Tag.pltRelocations, .pltRelocationsSize, .pltRelocationKind].count(where: { self[$0] != nil }) % 3
      != 0
    {
      throw ELFFault("it has some of DT_JMPREL, DT_PLTRELSZ and DT_PLTREL, not all")
    }
  }

  var flags1: UInt64 { self[.flags1] ?? 0 }

  /// `DF_1_NODELETE`: the loader never unmaps it.
  var isNeverUnmapped: Bool { flags1 & 8 != 0 }
}

/// A table of an image that the loader reads: whole in the file, and in one segment.
struct ELFTable {
  /// Where it is in memory, from the image's address on.
  let address: UInt64
  /// Where it is in the file.
  let offset: UInt64
  let size: UInt64

  var range: Range<UInt64> { address..<address + size }
  var fileRange: Range<UInt64> { offset..<offset + size }
}

extension ELFDynamic {
  /// The table at the address of `tag` with the size of `size`; nil when there is none.
  func table(
    _ tag: Tag, _ size: Tag, of record: UInt64, _ name: String, in segments: ELFSegments
  ) throws(ELFFault) -> ELFTable? {
    guard let address = self[tag] else { return nil }
    guard let count = self[size] else { throw ELFFault("its \(name) has no size") }
    if count % record != 0 { throw ELFFault("its \(name) holds a part of a record") }
    return try Self.table(at: address, count, aligned: min(record, 8), name, in: segments)
  }

  static func table(
    at address: UInt64, _ size: UInt64, aligned alignment: UInt64, _ name: String, in segments: ELFSegments
  ) throws(ELFFault) -> ELFTable {
    guard let offset = segments.offset(of: address, size) else {
      throw ELFFault("its \(name) lies outside its LOAD segments")
    }
    // 24 bytes are aligned as their words are.
    if address % (alignment == 1 ? 1 : alignment) != 0 { throw ELFFault("its \(name) is not aligned") }
    return ELFTable(address: address, offset: offset, size: size)
  }
}
