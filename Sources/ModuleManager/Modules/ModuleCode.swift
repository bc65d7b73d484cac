internal import CModuleABI
internal import Glibc
internal import ModuleFiles

/// The functions of a module, wherever they come from. All are called through
/// ``Module/call(_:onHandOver:_:then:)``, with no lock held.
protocol ModuleCode: Sendable {
  var name: String { get }
  var version: String? { get }
  var summary: String? { get }
  /// It has no exit.
  var isPermanent: Bool { get }
  /// Its exit cleans up whatever a failed init left.
  var exitsAfterFailedInit: Bool { get }

  /// 0, or a negative errno.
  func callInit(_ module: Module) -> Int32
  /// Nil when it has none.
  func callCleanup(force: Bool) -> Int32?
  /// What ``callStop()`` ends, nothing starts again.
  var hasStop: Bool { get }
  func callStop()
  /// 0, or a negative errno.
  func callExit() -> Int32
  var hasUseCount: Bool { get }
  /// Users that only the module knows of; 0 when it has no such function.
  var useCount: Int { get }
  var parameters: [any ParameterSlot] { get }
  /// What the manager keeps for it; nil: nothing.
  var stateForm: StateForm? { get }
}

extension ModuleCode {
  var stateForm: StateForm? { nil }
}

/// A module in an image that is not mapped yet: what its file says of itself. It is unformed, so
/// that nothing calls it.
struct UnmappedCode: ModuleCode {
  let name: String
  let version: String?
  let summary: String?

  init(_ entry: ImageFile.Entry?, named name: String) {
    self.name = name
    version = entry?.version
    summary = entry?.summary
  }

  var isPermanent: Bool { false }
  var exitsAfterFailedInit: Bool { false }
  func callInit(_ module: Module) -> Int32 { -EAGAIN }
  func callCleanup(force: Bool) -> Int32? { nil }
  var hasStop: Bool { false }
  func callStop() {}
  func callExit() -> Int32 { -EAGAIN }
  var hasUseCount: Bool { false }
  var useCount: Int { 0 }
  var parameters: [any ParameterSlot] { [] }
}

/// A module in an image: `struct quiescent_module`.
struct ImageCode: ModuleCode {
  // Whole, though the image may have been built when the structure was shorter: what it left out is
  // zero.
  private nonisolated(unsafe) let entry: quiescent_module
  let name: String
  let version: String?
  let summary: String?
  let parameters: [any ParameterSlot]

  /// `entry` was checked when its image was opened.
  ///
  /// - Throws: `EINVAL` for a parameter that is none.
  init(
    _ pointer: UnsafePointer<quiescent_module>, named name: String, path: String
  ) throws(ModuleError) {
    var entry = quiescent_module()
    let size = min(Int(pointer.pointee.size), MemoryLayout<quiescent_module>.size)
    withUnsafeMutableBytes(of: &entry) {
      $0.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: size))
    }
    self.entry = entry
    self.name = name
    version = entry.version.map { String(cString: $0) }
    summary = entry.description.map { String(cString: $0) }
    parameters = try ImageParameter.all(of: entry, path)
  }

  var isPermanent: Bool { entry.exit == nil }
  var exitsAfterFailedInit: Bool { entry.flags & UInt64(QUIESCENT_EXIT_AFTER_FAILED_INIT) != 0 }
  var hasUseCount: Bool { entry.usecount != nil }
  var useCount: Int { entry.usecount.map { Int($0()) } ?? 0 }

  // `init` was checked; `exit` is what `isPermanent` asks for.
  func callInit(_ module: Module) -> Int32 { entry.`init`!(HostTable.pointer, module.opaque) }
  func callExit() -> Int32 { entry.exit!() }
  func callCleanup(force: Bool) -> Int32? { entry.cleanup?(force ? 1 : 0) }
  var hasStop: Bool { entry.stop != nil }
  func callStop() { entry.stop?() }
  var stateForm: StateForm? {
    entry.state_size == 0 ? nil : StateForm(version: entry.state_version, size: entry.state_size)
  }
}
