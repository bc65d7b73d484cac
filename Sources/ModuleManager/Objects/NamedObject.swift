internal import Glibc
internal import Quiescence

/// An object that a module publishes under a name.
struct NamedObject: Sendable {
  typealias Read =
    @convention(c) (UnsafeMutableRawPointer?, UnsafeMutablePointer<CChar>?, Int, UInt64) -> Int

  let name: String
  /// Like `quiescent_read`: returns the number of bytes written, or a negative errno.
  let read: @Sendable (_ buffer: UnsafeMutableBufferPointer<CChar>, _ offset: UInt64) -> Int

  init(name: String, read: @escaping @Sendable (UnsafeMutableBufferPointer<CChar>, UInt64) -> Int) {
    self.name = name
    self.read = read
  }

  /// An object of an image.
  init(_ name: String, _ read: @escaping Read, _ context: UnsafeMutableRawPointer?) {
    nonisolated(unsafe) let context = context
    nonisolated(unsafe) let read = read
    self.init(name: name) { buffer, offset in read(context, buffer.baseAddress, buffer.count, offset) }
  }
}

/// An open object of a module. The module stays loaded until the object is closed.
///
/// An unload that waits (``BusyPolicy/wait``) removes the name at once. An open object stays
/// readable until it is closed, like an unlinked file.
///
/// Source: Roman Zippel, quoted by Rusty Russell, 22 September 2002 ("unlinked but still open
/// files").
public final class OpenObject: Sendable {
  /// The object's name.
  public let name: String
  /// The name of the module that it belongs to.
  public let module: String

  private let object: NamedObject
  private let owner: Module
  private let label: String
  /// Whether the object was closed, and the number of reads in progress. The last one to end
  /// releases the reference.
  private let state = Locked((closed: false, reads: 0))

  /// The caller has acquired a reference to `owner` for this object.
  init(_ object: NamedObject, of owner: Module, label: String) {
    name = object.name
    module = owner.name
    self.object = object
    self.owner = owner
    self.label = label
  }

  deinit { close() }

  /// Reads at most `capacity` bytes from `offset` on; empty at the end.
  ///
  /// - Threads: any, outside sections: the module may block.
  /// - Throws: `EBADF` after ``close()``, or the error that the module returns.
  public func read(from offset: UInt64, upTo capacity: Int) throws(ModuleError) -> [UInt8] {
    let open = state.withLock { state in
      if !state.closed { state.reads += 1 }
      return !state.closed
    }
    if !open { throw ModuleError(name, EBADF, "the object is closed") }
    defer { leave { $0.reads -= 1 } }

    var result = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: max(0, capacity)) { buffer, count in
      result = buffer.withMemoryRebound(to: CChar.self) { object.read($0, offset) }
      count = min(max(0, result), buffer.count)
    }
    if result < 0 { throw ModuleError(name, Int32(clamping: -result), "cannot be read") }
    return bytes
  }

  /// Releases the module. Later reads fail; a second call has no effect.
  public func close() {
    leave { $0.closed = true }
  }

  private func leave(_ change: (inout (closed: Bool, reads: Int)) -> Void) {
    let isLast = state.withLock { state in
      let wasHeld = !state.closed || state.reads > 0
      change(&state)
      return wasHeld && state.closed && state.reads == 0
    }
    if !isLast { return }
    owner.withLinks { $0.revocations[ObjectIdentifier(self)] = nil }
    owner.put(for: label)
  }
}
