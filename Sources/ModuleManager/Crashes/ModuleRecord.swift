internal import Quiescence
internal import _ImageShims

/// The record of one load in the process's table of modules, for crash reports and debuggers. Does
/// nothing when all places of the table have loaded modules.
struct ModuleRecord: Sendable {
  private static let turns = Locked(())
  private let index: Int32

  /// The loader is about to map the image, on the calling thread.
  init(_ name: String, version: String?, path: String) {
    index = Self.turns.withLock { _ in qs_module_record_begin(name, version ?? "", path) }
  }

  func setPlace(_ addresses: Range<UInt>) {
    Self.turns.withLock { _ in qs_module_record_place(index, addresses.lowerBound, addresses.upperBound) }
  }

  /// The image was unmapped, or stays although the module was unloaded.
  func setUnloaded(isMapped: Bool) {
    let state = isMapped ? QS_MODULE_RESIDENT : QS_MODULE_GONE
    Self.turns.withLock { _ in qs_module_record_state(index, state.rawValue) }
  }
}
