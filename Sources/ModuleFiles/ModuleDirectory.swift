internal import Quiescence

/// Where a manager finds modules by name: a directory and its index.
package final class ModuleDirectory: Sendable {
  package let path: String
  /// How long a request waits for the directory's lock.
  package let lockLimit: Duration
  private let known = Locked<ModuleIndex?>(nil)

  package init(path: String, lockLimit: Duration) {
    self.path = path
    self.lockLimit = lockLimit
  }

  /// As ``ModuleIndex/current(of:)``, which it asks only when a file has changed since.
  ///
  /// - Throws: also `EPERM` when others may change the directory or its index: they would decide
  ///   which modules a name stands for.
  package func index() throws(ModuleFileError) -> ModuleIndex {
    try FileTrust.check(path)
    try FileTrust.check("\(path)/\(ModuleIndex.fileName)")
    if let index = known.withLock({ $0 }), try !index.isStale() { return index }
    let index = try ModuleIndex.current(of: path)
    known.withLock { $0 = index }
    return index
  }
}
