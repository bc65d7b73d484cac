/// The memory of one version of a box.
///
/// 48 bytes on both sides of the value stay unused. malloc's blocks are aligned to 16 bytes, so no
/// other block, and none of malloc's own words, lies in a cache line of the value. Without the
/// margins, readers of a version would miss the cache whenever a writer fills or frees the block
/// beside it: that of the next version, or of a neighboring box.
enum Version<Value: ~Copyable & Sendable> {
  static func allocate() -> UnsafeMutablePointer<Value> {
    // Rounded up to 16 bytes: the last of them is then at most 48 bytes before the end of its line.
    let size = (MemoryLayout<Value>.size + 15) & ~15
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: margin + size + 48, alignment: max(16, MemoryLayout<Value>.alignment))
    return (memory + margin).bindMemory(to: Value.self, capacity: 1)
  }

  /// Moves the value out, and frees the memory.
  static func take(_ pointer: UnsafeMutablePointer<Value>) -> Value {
    defer { deallocate(pointer) }
    return pointer.move()
  }

  static func destroy(_ pointer: UnsafeMutablePointer<Value>) {
    pointer.deinitialize(count: 1)
    deallocate(pointer)
  }

  private static func deallocate(_ pointer: UnsafeMutablePointer<Value>) {
    (UnsafeMutableRawPointer(pointer) - margin).deallocate()
  }

  /// A multiple of the alignment.
  private static var margin: Int {
    MemoryLayout<Value>.alignment <= 16 ? 48 : max(64, MemoryLayout<Value>.alignment)
  }
}
