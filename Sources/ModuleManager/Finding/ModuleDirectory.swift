internal import Quiescence

/// Where a manager finds modules by name: a directory and its index.
final class ModuleDirectory: Sendable {
  let path: String
  private let known = Locked<ModuleIndex?>(nil)

  init(path: String) { self.path = path }

  /// As ``ModuleIndex/current(of:)``, which it asks only when a file has changed since.
  func index() throws(ModuleError) -> ModuleIndex {
    if let index = known.withLock({ $0 }), try !index.isStale() { return index }
    let index = try ModuleIndex.current(of: path)
    known.withLock { $0 = index }
    return index
  }
}
