/// The content of a request: a header that identifies it, and bytes that follow from the sequence
/// number. So an answer can be checked without keeping the request.
enum Payload {
  static let headerLength = 16

  struct Header {
    /// The flow in the upper bits, and the number of the request in the lower bits.
    let sequence: UInt64
    /// The slot of the request in its flow.
    let slot: UInt32
    let length: UInt32
  }

  /// Writes a request into `buffer`, which has room for `header.length` bytes.
  static func write(_ header: Header, to buffer: UnsafeMutablePointer<UInt8>) {
    let raw = UnsafeMutableRawPointer(buffer)
    raw.storeBytes(of: header.sequence.littleEndian, as: UInt64.self)
    raw.storeBytes(of: header.slot.littleEndian, toByteOffset: 8, as: UInt32.self)
    raw.storeBytes(of: header.length.littleEndian, toByteOffset: 12, as: UInt32.self)
    var words = Words(header.sequence)
    var offset = headerLength
    let end = Int(header.length)
    while offset + 8 <= end {
      raw.storeBytes(of: words.next().littleEndian, toByteOffset: offset, as: UInt64.self)
      offset += 8
    }
    var rest = words.next()
    while offset < end {
      raw.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: offset, as: UInt8.self)
      rest >>= 8
      offset += 1
    }
  }

  /// The header of an answer, if every byte is correct; nil otherwise.
  static func check(_ buffer: UnsafePointer<UInt8>, length: Int) -> Header? {
    if length < headerLength { return nil }
    let raw = UnsafeRawPointer(buffer)
    let header = Header(
      sequence: UInt64(littleEndian: raw.loadUnaligned(as: UInt64.self)),
      slot: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt32.self)),
      length: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 12, as: UInt32.self)))
    if Int(header.length) != length { return nil }
    var words = Words(header.sequence)
    var offset = headerLength
    var difference: UInt64 = 0
    while offset + 8 <= length {
      let word = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      difference |= UInt64(littleEndian: word) ^ words.next()
      offset += 8
    }
    var rest = words.next()
    while offset < length {
      difference |= UInt64(raw.load(fromByteOffset: offset, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest))
      rest >>= 8
      offset += 1
    }
    return difference == 0 ? header : nil
  }

  /// The length that the header of a datagram gives, which may be wrong; 0 without a header.
  static func length(in buffer: UnsafePointer<UInt8>, of length: Int) -> Int {
    if length < headerLength { return 0 }
    return Int(
      UInt32(littleEndian: UnsafeRawPointer(buffer).loadUnaligned(fromByteOffset: 12, as: UInt32.self)))
  }

  /// A length in `range` that follows from the sequence number.
  static func length(of sequence: UInt64, in range: ClosedRange<Int>) -> UInt32 {
    var words = Words(sequence ^ 0x6c65_6e67_7468)
    return UInt32(range.lowerBound) + UInt32(words.next() % UInt64(range.count))
  }

  /// A sequence of numbers that follows from a seed: SplitMix64.
  private struct Words {
    private var state: UInt64

    init(_ seed: UInt64) {
      state = seed
    }

    @inline(__always)
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
      return word ^ (word >> 31)
    }
  }
}
