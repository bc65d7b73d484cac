internal import Glibc
internal import Quiescence

/// Where a manager finds modules by name: a directory and its index.
final class ModuleDirectory: Sendable {
  let path: String
  private let known = Locked<ModuleIndex?>(nil)

  init(path: String) { self.path = path }

  /// The index of the files that are there now: the one that was written, or if that is missing or stale, one made on the
  /// spot. A damaged one is an error: somebody should know.
  ///
  /// - Complexity: a `stat(2)` for each module; reads all of them when the index is stale.
  func index() throws(ModuleError) -> ModuleIndex {
    if let index = known.withLock({ $0 }), try !index.isStale() { return index }
    let index: ModuleIndex
    if let written = try written() { index = written } else { index = try ModuleIndex.scan(path) }
    known.withLock { $0 = index }
    return index
  }

  private func written() throws(ModuleError) -> ModuleIndex? {
    let index: ModuleIndex
    do throws(ModuleError) { index = try ModuleIndex(readingFrom: path) } catch {
      if error.errno == ENOENT { return nil }
      throw error
    }
    return try index.isStale() ? nil : index
  }
}
