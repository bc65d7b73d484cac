internal import CModuleABI
internal import Glibc
internal import ModuleFiles
internal import Quiescence
internal import Synchronization

/// A parameter in a module's image: `struct quiescent_parameter`. Valid until the image is
/// unmapped.
final class ImageParameter: ParameterSlot {
  let form: ParameterForm
  private nonisolated(unsafe) let descriptor: UnsafePointer<quiescent_parameter>
  private nonisolated(unsafe) let variable: UnsafeMutableRawPointer
  private let width: Int
  /// The last content of a string or a list, which is not read from the variable: the module owns
  /// the variable, and may be writing to it.
  private let last: Locked<ParameterContent?>

  /// The parameters of a module whose entry was checked.
  ///
  /// - Throws: `EINVAL` for a descriptor that does not describe a parameter, or a name that occurs
  ///   twice.
  static func all(of entry: quiescent_module, _ path: String) throws(ModuleError) -> [any ParameterSlot] {
    guard var next = entry.parameters, let end = entry.parameters_end else { return [] }
    var all: [any ParameterSlot] = []
    while next < end {
      guard let descriptor = next.pointee, let parameter = ImageParameter(descriptor),
        !all.contains(where: { $0.form.name == parameter.form.name })
      else { throw ModuleError(path, EINVAL, "its parameter number \(all.count + 1) is none") }
      all.append(parameter)
      next += 1
    }
    return all
  }

  private init?(_ descriptor: UnsafePointer<quiescent_parameter>) {
    let raw = descriptor.pointee
    guard raw.size >= MemoryLayout<quiescent_parameter>.size,
      let kind = ParameterForm.Kind(rawValue: raw.kind),
      let name = raw.name.map({ String(cString: $0) }), ModuleName.isValid(name), let variable = raw.value,
      [1, 2, 4, 8].contains(raw.width), raw.capacity > 0,
      kind != .bool && kind != .string || raw.width == 1,
      kind != .string || raw.count == nil
    else { return nil }
    let isList = raw.count != nil
    let isWritable = raw.flags & UInt64(QUIESCENT_WRITABLE) != 0
    guard let (least, most) = kind == .int ? Self.signedRange(raw) : Self.unsignedRange(raw) else {
      return nil
    }
    form = ParameterForm(
      name: name, kind: kind, isList: isList,
      isWritable: isWritable && (raw.set != nil || !isList && kind != .string),
      // The capacity in the descriptor includes the zero at the end.
      capacity: Int(raw.capacity) - (kind == .string ? 1 : 0), minimum: least, maximum: most)
    self.descriptor = descriptor
    self.variable = variable
    width = Int(raw.width)
    last = Locked(nil)
    if isList || kind == .string { last.withLock { $0 = firstContent() } }
  }

  /// The range that fits the type and was declared, or nil if there is none. As bits.
  private static func signedRange(_ raw: quiescent_parameter) -> (Int64, Int64)? {
    let all = (Int64.min >> Int64(64 - raw.width * 8))...(Int64.max >> Int64(64 - raw.width * 8))
    return range(Int64(bitPattern: raw.minimum), Int64(bitPattern: raw.maximum), in: all)
  }

  private static func unsignedRange(_ raw: quiescent_parameter) -> (Int64, Int64)? {
    let all = 0...(UInt64.max >> UInt64(64 - raw.width * 8))
    return range(raw.minimum, raw.maximum, in: all).map { (Int64(bitPattern: $0), Int64(bitPattern: $1)) }
  }

  private static func range<Number: FixedWidthInteger>(
    _ least: Number, _ most: Number, in all: ClosedRange<Number>
  ) -> (Number, Number)? {
    if least == 0 && most == 0 { return (all.lowerBound, all.upperBound) }
    // The module set only one of the two limits.
    if least > most && most == 0 { return least > all.upperBound ? nil : (least, all.upperBound) }
    if least > most && least == 0 { return most < all.lowerBound ? nil : (all.lowerBound, most) }
    let (least, most) = (max(least, all.lowerBound), min(most, all.upperBound))
    return least > most ? nil : (least, most)
  }

  func load() -> ParameterContent { last.withLock { $0 } ?? .number(number(at: 0)) }

  func storeFirst(_ content: ParameterContent) {
    switch content {
    case .number(let number): store(number, at: 0)
    case .list(let numbers):
      for (index, number) in numbers.enumerated() { store(number, at: index) }
      descriptor.pointee.count.pointee = UInt32(numbers.count)
    case .text(let text):
      let bytes = Array(text.utf8) + [0]
      variable.copyMemory(from: bytes, byteCount: bytes.count)
    }
    remember(content)
  }

  func change(to content: ParameterContent) -> Int32 {
    if let set = descriptor.pointee.set {
      let result = ask(set, content)
      if result != 0 { return result }
    }
    // One store: a hook that reads the variable concurrently finds the old number or the new one.
    if case .number(let number) = content { store(number, at: 0) }
    remember(content)
    return 0
  }

  private typealias Setter =
    @convention(c) (
      UnsafePointer<quiescent_parameter>?, UnsafeRawPointer?, Int
    ) -> Int32

  /// Passes the content in the layout of the variable.
  private func ask(_ set: Setter, _ content: ParameterContent) -> Int32 {
    switch content {
    case .text(let text): return set(descriptor, Array(text.utf8) + [0], text.utf8.count)
    case .number(let number):
      return withUnsafeBytes(of: number.littleEndian) { set(descriptor, $0.baseAddress, 1) }
    case .list(let numbers):
      // In words of 64 bits, so that the address is aligned for every width.
      var words = [Int64](repeating: 0, count: max(1, (numbers.count * width + 7) / 8))
      words.withUnsafeMutableBytes { bytes in
        for (index, number) in numbers.enumerated() {
          withUnsafeBytes(of: number.littleEndian) {
            for byte in 0..<width { bytes[index * width + byte] = $0[byte] }
          }
        }
      }
      return words.withUnsafeBytes { set(descriptor, $0.baseAddress, numbers.count) }
    }
  }

  private func remember(_ content: ParameterContent) {
    if case .number = content { return }
    last.withLock { $0 = content }
  }

  private func firstContent() -> ParameterContent {
    if form.kind == .string {
      let bytes = UnsafeRawBufferPointer(start: variable, count: form.capacity)
      return .text(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
    }
    let count = min(Int(descriptor.pointee.count.pointee), form.capacity)
    return .list((0..<count).map(number))
  }

  // MARK: Numbers

  /// An aligned atomic access of the element's width, compatible with C's `__atomic_load_n`.
  private func number(at index: Int) -> Int64 {
    let place = variable + index * width
    let bits: UInt64 =
      switch width {
      case 1: UInt64(place.assumingMemoryBound(to: Atomic<UInt8>.self).pointee.load(ordering: .acquiring))
      case 2: UInt64(place.assumingMemoryBound(to: Atomic<UInt16>.self).pointee.load(ordering: .acquiring))
      case 4: UInt64(place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .acquiring))
      default: place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
      }
    if form.kind != .int { return Int64(bitPattern: bits) }
    let shift = 64 - width * 8
    return Int64(bitPattern: bits << UInt64(shift)) >> Int64(shift)
  }

  private func store(_ number: Int64, at index: Int) {
    let place = variable + index * width
    switch width {
    case 1:
      place.assumingMemoryBound(to: Atomic<UInt8>.self).pointee
        .store(UInt8(truncatingIfNeeded: number), ordering: .releasing)
    case 2:
      place.assumingMemoryBound(to: Atomic<UInt16>.self).pointee
        .store(UInt16(truncatingIfNeeded: number), ordering: .releasing)
    case 4:
      place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee
        .store(UInt32(truncatingIfNeeded: number), ordering: .releasing)
    default:
      place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee
        .store(UInt64(bitPattern: number), ordering: .releasing)
    }
  }
}
