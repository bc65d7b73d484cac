internal import Glibc

/// The symbol versions of an image.
///
/// Source: glibc elf/dl-version.c, `_dl_check_map_versions`.
struct ELFVersions {
  private(set) var tables: [ELFTable] = []
  /// `DT_VERSYM`: a number for each symbol.
  private var numbers: ELFTable?
  /// The numbers that its records give, up to which the loader allocates.
  private var highest: UInt16 = 0
  private var count = 0

  private let bytes: ELFBytes
  private let segments: ELFSegments
  private let symbols: ELFSymbols

  /// Numbers have 15 bits, so there are no more records.
  private static let limit = 1 << 15

  init(
    _ bytes: ELFBytes, _ dynamic: ELFDynamic, _ segments: ELFSegments, _ symbols: ELFSymbols,
    needed: [String]
  ) throws(ELFFault) {
    self.bytes = bytes
    self.segments = segments
    self.symbols = symbols
    if let address = dynamic[.neededVersions] { try readNeeded(at: address, needed) }
    if let address = dynamic[.definedVersions] { try readDefined(at: address) }
    guard let address = dynamic[.symbolVersions] else {
      // The loader reads it without a look.
      if highest > 0 { throw ELFFault("it has symbol versions, and no DT_VERSYM") }
      return
    }
    let table = try ELFDynamic.table(
      at: address, symbols.limit * 2, aligned: 2, "DT_VERSYM", in: segments)
    numbers = table
    tables.append(table)
    // Where the number of symbols is not known, those that relocations name are checked.
    for symbol in 0..<(symbols.count ?? 0) { try check(symbol) }
  }

  /// The loader takes a symbol's number as an index.
  func check(_ symbol: UInt64) throws(ELFFault) {
    guard let numbers, let number = bytes.load(UInt16.self, at: numbers.offset + symbol * 2) else { return }
    if number & 0x7fff > highest { throw ELFFault("a symbol has a version that is none") }
  }

  private mutating func note(_ number: UInt16, _ what: String) throws(ELFFault) {
    highest = max(highest, number & 0x7fff)
    count += 1
    if count > Self.limit { throw ELFFault("its \(what) holds too many records") }
  }

  private func record<Record: BitwiseCopyable>(
    _ type: Record.Type, at address: UInt64, _ what: String
  ) throws(ELFFault) -> Record {
    let table = try ELFDynamic.table(
      at: address, UInt64(MemoryLayout<Record>.size), aligned: 4, what, in: segments)
    // Inside the file.
    guard let record = bytes.load(type, at: table.offset) else { throw ELFFault("no \(what)") }
    return record
  }

  private mutating func readNeeded(at start: UInt64, _ needed: [String]) throws(ELFFault) {
    let what = "DT_VERNEED"
    var address = start
    var end = start
    while true {
      let entry = try record(Elf64_Verneed.self, at: address, what)
      let file = try symbols.name(at: UInt64(entry.vn_file), "a name in its \(what)")
      // The loader asserts that it has loaded it.
      if !needed.contains(file) { throw ELFFault("its \(what) names '\(file)', which it does not need") }
      var place = address.plus(UInt64(entry.vn_aux))
      while true {
        let version = try record(Elf64_Vernaux.self, at: place, what)
        _ = try symbols.name(at: UInt64(version.vna_name), "a name in its \(what)")
        try note(version.vna_other, what)
        end = max(end, place + UInt64(MemoryLayout<Elf64_Vernaux>.size))
        if version.vna_next == 0 { break }
        place = place.plus(UInt64(version.vna_next))
      }
      end = max(end, address + UInt64(MemoryLayout<Elf64_Verneed>.size))
      if entry.vn_next == 0 { break }
      address = address.plus(UInt64(entry.vn_next))
    }
    tables.append(try ELFDynamic.table(at: start, end - start, aligned: 4, what, in: segments))
  }

  private mutating func readDefined(at start: UInt64) throws(ELFFault) {
    let what = "DT_VERDEF"
    var address = start
    var end = start
    while true {
      let entry = try record(Elf64_Verdef.self, at: address, what)
      try note(entry.vd_ndx, what)
      let place = address.plus(UInt64(entry.vd_aux))
      let name = try record(Elf64_Verdaux.self, at: place, what)
      _ = try symbols.name(at: UInt64(name.vda_name), "a name in its \(what)")
      end = max(end, place + UInt64(MemoryLayout<Elf64_Verdaux>.size))
      if entry.vd_next == 0 { break }
      address = address.plus(UInt64(entry.vd_next))
    }
    tables.append(try ELFDynamic.table(at: start, end - start, aligned: 4, what, in: segments))
  }
}
