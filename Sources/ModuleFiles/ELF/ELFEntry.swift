internal import CModuleABI
internal import Glibc

/// The exported `struct quiescent_module` of an image, read from its file as it will be after
/// relocation.
struct ELFEntry {
  /// Where it is, from the image's address on.
  let address: UInt64
  let abi: UInt32
  let size: UInt32
  /// Nil when another ABI lays it out in another way.
  private(set) var name: String?
  private(set) var version: String?
  private(set) var summary: String?
  private(set) var hasInit = false

  private let image: ELFTables

  /// Nil when the file does not export one. One in a library that the file needs does not count.
  init?(_ image: ELFTables) throws(ELFFault) {
    guard let symbol = image.symbols.all.first(where: { Self.isEntry($0, image.symbols) }) else { return nil }
    self.image = image
    address = symbol.st_value
    guard let offset = image.segments.offset(of: address, 8),
      let head = image.bytes.load(SIMD2<UInt32>.self, at: offset)
    else { throw ELFFault("its \(QUIESCENT_MODULE_SYMBOL) lies outside its LOAD segments") }
    (abi, size) = (head[0], head[1])
    if abi != QUIESCENT_MODULE_ABI { return }
    // Fields that are not there are not read.
    let used = min(UInt64(size), UInt64(MemoryLayout<quiescent_module>.size))
    if image.segments.offset(of: address, max(8, used)) == nil {
      throw ELFFault("its \(QUIESCENT_MODULE_SYMBOL) lies outside its LOAD segments")
    }
    try read(used)
  }

  private static func isEntry(_ symbol: Elf64_Sym, _ symbols: ELFSymbols) -> Bool {
    symbol.isExported && !symbol.isThreadLocal && !symbol.isAbsolute
      && symbols.isNamed(symbol, "quiescent_module")
  }

  private mutating func read(_ used: UInt64) throws(ELFFault) {
    let values = try image.relocations.values(in: [address..<address + used])
    typealias Field = PartialKeyPath<quiescent_module>
    /// Nil for a null pointer, and a field that the structure leaves out.
    func pointer(_ field: Field, _ name: String) throws(ELFFault) -> ELFRelocations.Value? {
      // Every field is stored.
      guard let offset = MemoryLayout<quiescent_module>.offset(of: field), UInt64(offset) + 8 <= used else {
        return nil
      }
      return try image.pointer(at: address + UInt64(offset), values, "its \(name)")
    }
    func text(_ field: Field, _ name: String) throws(ELFFault) -> String? {
      guard let value = try pointer(field, name) else { return nil }
      return try image.text(at: value, "its \(name)")
    }
    name = try text(\.name, "name")
    version = try text(\.version, "version")
    summary = try text(\.description, "description")
    for (field, name) in [
      (\quiescent_module.`init` as Field, "init"), (\.exit, "exit"), (\.cleanup, "cleanup"), (\.stop, "stop"),
      (\.usecount, "usecount"),
    ] {
      guard let value = try pointer(field, name) else { continue }
      try image.checkFunction(value, "its \(name)")
      if name == "init" { hasInit = true }
    }
    try checkParameters(pointer(\.parameters, "parameters"), pointer(\.parameters_end, "parameters_end"))
  }
}

// MARK: - Parameters

extension ELFEntry {
  private static let parameterLimit: UInt64 = 1024

  private func checkParameters(
    _ start: ELFRelocations.Value?, _ end: ELFRelocations.Value?
  ) throws(ELFFault) {
    guard case .inside(let start) = start, case .inside(let end) = end else {
      // Without parameters, some linkers leave a hidden weak symbol to the loader: both are equal.
      if start == end || start == nil || end == nil { return }
      throw ELFFault("its parameters lie outside its LOAD segments")
    }
    if start >= end { return }
    let size = end - start
    if size % 8 != 0 || size / 8 > Self.parameterLimit || !image.segments.holds(start, size) {
      throw ELFFault("its parameters lie outside its LOAD segments")
    }
    let list = try image.relocations.values(in: [start..<end])
    var descriptors: [UInt64] = []
    for index in 0..<size / 8 {
      guard case .inside(let place) = try image.pointer(at: start + index * 8, list, "a parameter") else {
        throw ELFFault("a parameter is none")
      }
      descriptors.append(place)
    }
    let length = UInt64(MemoryLayout<quiescent_parameter>.size)
    let sorted = Set(descriptors).sorted()
    for (one, next) in zip(sorted, sorted.dropFirst()) where next - one < length {
      throw ELFFault("its parameters overlap")
    }
    for place in sorted where image.segments.offset(of: place, length) == nil {
      throw ELFFault("a parameter lies outside its LOAD segments")
    }
    let values = try image.relocations.values(in: sorted.map { $0..<$0 + length })
    for place in sorted { try checkParameter(at: place, values) }
  }

  /// What the manager reads and writes through a parameter is in the image.
  private func checkParameter(at place: UInt64, _ values: [UInt64: ELFRelocations.Value]) throws(ELFFault) {
    func offset(_ field: PartialKeyPath<quiescent_parameter>) -> UInt64 {
      // Every field is stored.
      UInt64(MemoryLayout<quiescent_parameter>.offset(of: field) ?? 0)
    }
    func number(_ field: PartialKeyPath<quiescent_parameter>) -> UInt64 {
      image.segments.offset(of: place + offset(field), 4)
        .flatMap { image.bytes.load(UInt32.self, at: $0) }.map(UInt64.init) ?? 0
    }
    guard let name = try image.pointer(at: place + offset(\.name), values, "a parameter's name"),
      let variable = try image.pointer(at: place + offset(\.value), values, "a parameter's variable")
    else { throw ELFFault("a parameter has no name or no variable") }
    _ = try image.text(at: name, "a parameter's name")
    let count = try image.pointer(at: place + offset(\.count), values, "a parameter's count")
    let size = number(\.width) * number(\.capacity)
    for (value, size) in [(variable, size), (count ?? variable, count == nil ? size : 4)] {
      // One in another image is that image's to keep whole.
      if case .inside(let address) = value, !image.segments.isWritable(address, max(1, size)) {
        throw ELFFault("a parameter's variable lies outside its writable segments")
      }
    }
    if let set = try image.pointer(at: place + offset(\.set), values, "a parameter's set") {
      try image.checkFunction(set, "a parameter's set")
    }
  }
}
