internal import Glibc

/// The dynamic symbols of an image, their names and the hash tables that lead to them.
///
/// Source: glibc elf/dl-lookup.c, `do_lookup_x` and `_dl_setup_hash`.
struct ELFSymbols {
  private let bytes: ELFBytes
  private let table: ELFTable
  let strings: ELFTable
  /// No index is as great.
  let limit: UInt64
  /// How many symbols there are, where a hash table tells.
  let count: UInt64?
  /// The tables that the loader reads while it relocates.
  private(set) var tables: [ELFTable]

  init(_ bytes: ELFBytes, _ dynamic: ELFDynamic, _ segments: ELFSegments) throws(ELFFault) {
    self.bytes = bytes
    guard let strings = try dynamic.table(.strings, .stringsSize, of: 1, "DT_STRTAB", in: segments),
      strings.size > 0
    else { throw ELFFault("it has no DT_STRTAB") }
    self.strings = strings
    // So every name that begins in it ends in it.
    if bytes.load(UInt8.self, at: strings.offset + strings.size - 1) != 0 {
      throw ELFFault("its DT_STRTAB does not end with a zero")
    }
    guard let address = dynamic[.symbols] else { throw ELFFault("it has no DT_SYMTAB") }
    let size = UInt64(MemoryLayout<Elf64_Sym>.size)
    let start = try ELFDynamic.table(at: address, size, aligned: 8, "DT_SYMTAB", in: segments)
    // Up to the next table, or the end of what is mapped from the file.
    var end = segments.fileEnd(around: address) ?? start.offset
    for tag in [ELFDynamic.Tag.strings, .hash, .gnuHash, .symbolVersions, .relocations, .pltRelocations] {
      if let other = dynamic[tag], other > address { end = min(end, start.offset + (other - address)) }
    }
    let limit = (end - start.offset) / size
    var tables = [strings]
    var count: UInt64?
    if let address = dynamic[.gnuHash] {
      let hash = try GNUHash(bytes, at: address, segments, limit: limit)
      tables.append(hash.table)
      count = hash.symbolCount
    }
    if let address = dynamic[.hash] {
      let hash = try Self.systemHash(bytes, at: address, segments, limit: limit)
      tables.append(hash.table)
      if let other = count, other > hash.count { throw ELFFault("its hash tables differ") }
      count = hash.count
    }
    self.limit = count ?? limit
    self.count = count
    table = ELFTable(address: address, offset: start.offset, size: self.limit * size)
    self.tables = tables + [table]
  }

  /// The symbol with that index; nil when there is none.
  subscript(_ index: UInt64) -> Elf64_Sym? {
    if index >= limit { return nil }
    return bytes.load(Elf64_Sym.self, at: table.offset + index * UInt64(MemoryLayout<Elf64_Sym>.size))
  }

  /// The symbols, where a hash table tells their number.
  var all: some Sequence<Elf64_Sym> { (1..<max(1, count ?? 1)).lazy.compactMap { self[$0] } }

  func name(of symbol: Elf64_Sym) -> UnsafeRawBufferPointer? { text(at: UInt64(symbol.st_name)) }

  /// A text in the table of strings.
  func text(at offset: UInt64) -> UnsafeRawBufferPointer? {
    if offset >= strings.size { return nil }
    return bytes.text(at: strings.offset + offset, before: strings.offset + strings.size)
  }

  /// A name of a library or a version: the loader copies some of these to its stack.
  func name(at offset: UInt64, _ what: String, limit: Int = 4096) throws(ELFFault) -> String {
    guard let text = text(at: offset) else { throw ELFFault("\(what) lies outside its DT_STRTAB") }
    if text.count > limit { throw ELFFault("\(what) is too long") }
    return String(decoding: text, as: UTF8.self)
  }

  func isNamed(_ symbol: Elf64_Sym, _ name: StaticString) -> Bool {
    guard let text = self.name(of: symbol) else { return false }
    let wanted = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    return text.elementsEqual(wanted)
  }
}

extension Elf64_Sym {
  var isDefined: Bool { st_shndx != 0 }
  var isAbsolute: Bool { st_shndx == 0xfff1 }
  var type: UInt8 { st_info & 15 }
  var isThreadLocal: Bool { type == 6 }
  var isFunction: Bool { type == 2 || isResolver }
  /// `STT_GNU_IFUNC`: the loader calls it.
  var isResolver: Bool { type == 10 }
  /// `STB_GNU_UNIQUE`: once bound, the loader never unmaps its image.
  var isUnique: Bool { st_info >> 4 == 10 }
  var isLocal: Bool { st_info >> 4 == 0 }
  /// Other images find it.
  var isExported: Bool { isDefined && !isLocal && (st_other & 3 == 0 || st_other & 3 == 3) }
}

// MARK: - Checks

extension ELFSymbols {
  func check(_ segments: ELFSegments) throws(ELFFault) {
    for symbol in all { try check(symbol, segments) }
  }

  /// The loader reads the name, computes the address, and calls resolvers.
  func check(_ symbol: Elf64_Sym, _ segments: ELFSegments) throws(ELFFault) {
    if UInt64(symbol.st_name) >= strings.size { throw ELFFault("a symbol's name lies outside its DT_STRTAB") }
    if !symbol.isDefined || symbol.isAbsolute { return }
    if symbol.isThreadLocal {
      guard let block = segments.threadLocals, symbol.st_value <= block.p_memsz else {
        throw ELFFault("a symbol lies outside its TLS segment")
      }
    } else if !segments.bounds.contains(symbol.st_value) {
      throw ELFFault("a symbol lies outside its LOAD segments")
    } else if symbol.isFunction && !segments.isExecutable(symbol.st_value) {
      throw ELFFault("a function's symbol lies outside its code")
    }
  }
}

// MARK: - Hash tables

/// `DT_GNU_HASH`: a Bloom filter, buckets with the index of their first symbol, and a chain of hash
/// values for each bucket, whose end is a set bit.
private struct GNUHash {
  let table: ELFTable
  /// Nil when no symbol is in it: those that are not are not counted.
  let symbolCount: UInt64?

  init(
    _ bytes: ELFBytes, at address: UInt64, _ segments: ELFSegments, limit: UInt64
  ) throws(ELFFault) {
    let name = "DT_GNU_HASH"
    let head = try ELFDynamic.table(at: address, 16, aligned: 8, name, in: segments)
    guard let words = bytes.load(SIMD4<UInt32>.self, at: head.offset) else { throw ELFFault("no \(name)") }
    let (buckets, first, filters) = (UInt64(words[0]), UInt64(words[1]), UInt64(words[2]))
    // The loader asserts the power of two.
    if buckets == 0 || filters == 0 || filters & (filters - 1) != 0 || words[3] > 31 {
      throw ELFFault("its \(name) has numbers that are none")
    }
    let chains = filters * 8 + buckets * 4 + 16
    let fixed = try ELFDynamic.table(at: address, chains, aligned: 8, name, in: segments)
    var last: UInt64 = 0
    for index in 0..<buckets {
      let bucket =
        bytes.load(UInt32.self, at: fixed.offset + 16 + filters * 8 + index * 4).map(UInt64.init) ?? 0
      if bucket == 0 { continue }
      if bucket < first || bucket >= limit { throw ELFFault("its \(name) leads out of its symbols") }
      last = max(last, bucket)
    }
    if last == 0 {
      (table, symbolCount) = (fixed, nil)
      return
    }
    // The chain of the last bucket ends the table, and every other chain ends before.
    let end = segments.fileEnd(around: address) ?? 0
    while true {
      let place = fixed.offset.plus(chains + (last - first) * 4)
      guard last < limit, place.plus(4) <= end, let value = bytes.load(UInt32.self, at: place) else {
        throw ELFFault("its \(name) has a chain without an end")
      }
      last += 1
      if value & 1 != 0 { break }
    }
    table = try ELFDynamic.table(at: address, chains + (last - first) * 4, aligned: 8, name, in: segments)
    symbolCount = last
  }
}

extension ELFSymbols {
  /// `DT_HASH`: buckets with the index of their first symbol, and for each symbol the next one.
  private static func systemHash(
    _ bytes: ELFBytes, at address: UInt64, _ segments: ELFSegments, limit: UInt64
  ) throws(ELFFault) -> (table: ELFTable, count: UInt64) {
    let name = "DT_HASH"
    let head = try ELFDynamic.table(at: address, 8, aligned: 4, name, in: segments)
    guard let words = bytes.load(SIMD2<UInt32>.self, at: head.offset) else { throw ELFFault("no \(name)") }
    let (buckets, count) = (UInt64(words[0]), UInt64(words[1]))
    if buckets == 0 || count > limit { throw ELFFault("its \(name) has numbers that are none") }
    let table = try ELFDynamic.table(at: address, (2 + buckets + count) * 4, aligned: 4, name, in: segments)
    func word(_ index: UInt64) -> UInt64 {
      bytes.load(UInt32.self, at: table.offset + index * 4).map(UInt64.init) ?? 0
    }
    // A symbol is in one chain, so that none of them is a circle.
    var seen = [Bool](repeating: false, count: Int(count))
    for bucket in 0..<buckets {
      var symbol = word(2 + bucket)
      while symbol != 0 {
        if symbol >= count || seen[Int(symbol)] { throw ELFFault("its \(name) leads out of its symbols") }
        seen[Int(symbol)] = true
        symbol = word(2 + buckets + symbol)
      }
    }
    return (table, count)
  }
}
