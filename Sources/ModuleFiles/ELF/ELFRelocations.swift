internal import Glibc

/// The relocations of an image: what the loader writes where before any code of the image runs.
///
/// Source: glibc elf/do-rel.h and elf/dynamic-link.h.
struct ELFRelocations {
  /// What a relocation stores.
  enum Value: Equatable {
    /// An address in the image, counted from the image's own.
    case inside(UInt64)
    /// An address in another image, or none.
    case outside
    /// Something else.
    case other
  }

  private let bytes: ELFBytes
  private let segments: ELFSegments
  private let symbols: ELFSymbols
  private let versions: ELFVersions
  /// `DT_RELA` and `DT_JMPREL`.
  private var records: [ELFTable] = []
  /// `DT_RELR`.
  private var packed: ELFTable?
  private var relativeCount: UInt64 = 0
  /// What the loader reads while it relocates, where it may be written.
  private var protected: [Range<UInt64>] = []

  init(
    _ bytes: ELFBytes, _ dynamic: ELFDynamic, _ segments: ELFSegments, _ symbols: ELFSymbols,
    _ versions: ELFVersions
  ) throws(ELFFault) {
    self.bytes = bytes
    self.segments = segments
    self.symbols = symbols
    self.versions = versions
    let size = UInt64(MemoryLayout<Elf64_Rela>.size)
    let main = try dynamic.table(.relocations, .relocationsSize, of: size, "DT_RELA", in: segments)
    let plt = try dynamic.table(.pltRelocations, .pltRelocationsSize, of: size, "DT_JMPREL", in: segments)
    packed = try dynamic.table(.packedRelocations, .packedRelocationsSize, of: 8, "DT_RELR", in: segments)
    records = [main, plt].compactMap(\.self)
    relativeCount = main == nil ? 0 : min(dynamic[.relativeCount] ?? 0, (main?.size ?? 0) / size)
    let tables = (records + [packed].compactMap(\.self) + symbols.tables + versions.tables).map(\.range)
    protected = (tables + [dynamic.range]).filter { !$0.isEmpty && segments.isWritable($0.lowerBound, 1) }
    try checkAll()
  }

  /// Parts of the file that a linker leaves no block of zeros in.
  var fileRanges: [Range<UInt64>] { records.map(\.fileRange) }

  /// What is stored, after relocation, in the words of `ranges`, by the address of the word.
  ///
  /// - Parameter ranges: In order, not overlapping.
  /// - Throws: where something else than one whole word is stored.
  func values(in ranges: [Range<UInt64>]) throws(ELFFault) -> [UInt64: Value] {
    var values: [UInt64: Value] = [:]
    func note(_ place: UInt64, _ size: UInt64, _ value: Value) throws(ELFFault) {
      guard let range = Self.range(in: ranges, overlapping: place..<place.plus(size)) else { return }
      if size != 8 || place < range.lowerBound || !(place - range.lowerBound).isAligned(to: 8)
        || values.updateValue(value, forKey: place) != nil
      {
        throw ELFFault("two relocations change the same pointer")
      }
    }
    try forEachRecord { (record, kind, _) throws(ELFFault) in
      if kind == .none { return }
      try note(record.r_offset, kind.size, value(of: record, kind))
    }
    try forEachPacked { (place) throws(ELFFault) in
      let offset = segments.offset(of: place, 8)
      try note(place, 8, offset.flatMap { bytes.load(UInt64.self, at: $0) }.map(Value.inside) ?? .other)
    }
    return values
  }

  private func value(of record: Elf64_Rela, _ kind: ELFMachine.Relocation) -> Value {
    let addend = UInt64(bitPattern: Int64(record.r_addend))
    switch kind {
    case .relative: return .inside(addend)
    case .symbol:
      guard let symbol = symbols[record.symbol], !symbol.isAbsolute else { return .other }
      return symbol.isDefined ? .inside(symbol.st_value &+ addend) : .outside
    case .resolver: return .outside
    default: return .other
    }
  }

  /// The range that overlaps `wanted`.
  private static func range(in ranges: [Range<UInt64>], overlapping wanted: Range<UInt64>) -> Range<UInt64>? {
    var (low, high) = (0, ranges.count)
    // The first that ends behind the beginning of `wanted`.
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound <= wanted.lowerBound { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].overlaps(wanted) ? ranges[low] : nil
  }
}

extension Elf64_Rela {
  fileprivate var symbol: UInt64 { r_info >> 32 }
}

// MARK: - Walking

extension ELFRelocations {
  private func forEachRecord(
    _ body: (Elf64_Rela, ELFMachine.Relocation, _ isRelative: Bool) throws(ELFFault) -> Void
  ) throws(ELFFault) {
    let size = UInt64(MemoryLayout<Elf64_Rela>.size)
    for (number, table) in records.enumerated() {
      for index in 0..<table.size / size {
        // Inside the file.
        guard let record = bytes.load(Elf64_Rela.self, at: table.offset + index * size) else { return }
        guard let kind = ELFMachine.relocation(UInt32(truncatingIfNeeded: record.r_info)) else {
          throw ELFFault("it has a relocation of an unknown kind")
        }
        try body(record, kind, number == 0 && index < relativeCount)
      }
    }
  }

  /// An even word is the address of a word; an odd one has a bit for each of the next 63 words.
  private func forEachPacked(_ body: (UInt64) throws(ELFFault) -> Void) throws(ELFFault) {
    guard let packed else { return }
    var next: UInt64?
    for index in 0..<packed.size / 8 {
      guard let word = bytes.load(UInt64.self, at: packed.offset + index * 8) else { return }
      if word & 1 == 0 {
        try body(word)
        next = word.plus(8)
        continue
      }
      guard let place = next else { throw ELFFault("its DT_RELR begins without an address") }
      for bit in 0..<UInt64(63) where word >> (bit + 1) & 1 != 0 { try body(place.plus(bit * 8)) }
      next = place.plus(63 * 8)
    }
  }
}

// MARK: - Checks

extension ELFRelocations {
  private func checkAll() throws(ELFFault) {
    try forEachRecord { (record, kind, isRelative) throws(ELFFault) in
      // The loader asserts it.
      if isRelative && kind != .relative { throw ELFFault("its DT_RELACOUNT counts other relocations") }
      if kind == .none { return }
      try checkPlace(record.r_offset, kind.size)
      switch kind {
      case .relative: break
      case .resolver:
        if !segments.isExecutable(UInt64(bitPattern: Int64(record.r_addend))) {
          throw ELFFault("a resolver of a relocation lies outside its code")
        }
      default: try checkSymbol(record.symbol, kind)
      }
    }
    try forEachPacked { (place) throws(ELFFault) in try checkPlace(place, 8) }
  }

  private func checkPlace(_ place: UInt64, _ size: UInt64) throws(ELFFault) {
    if !segments.isWritable(place, size) {
      throw ELFFault("a relocation changes what lies outside its writable segments")
    }
    for range in protected where range.overlaps(place..<place + size) {
      throw ELFFault("a relocation changes what the loader reads")
    }
  }

  private func checkSymbol(_ index: UInt64, _ kind: ELFMachine.Relocation) throws(ELFFault) {
    guard let symbol = symbols[index] else {
      throw ELFFault("a relocation names a symbol that lies outside its DT_SYMTAB")
    }
    if symbols.count == nil {
      try symbols.check(symbol, segments)
      try versions.check(index)
    }
    // It would be bound to the beginning of this image: what is left of a symbol that was lost.
    if !symbol.isDefined && symbol.isLocal && !kind.isThreadLocal {
      throw ELFFault("a relocation names a symbol that is none")
    }
    // The loader divides by the alignment of the symbol's TLS segment, which another image than one
    // with thread-local storage does not have.
    if kind.isThreadLocal != symbol.isThreadLocal
      && (index != 0 || kind.isThreadLocal && segments.threadLocals == nil)
    {
      throw ELFFault("a relocation and its symbol differ in whether they are thread-local")
    }
  }
}
