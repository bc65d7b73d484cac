internal import ModuleFiles
internal import Quiescence

extension ModuleManager {
  /// Runs `body` on the manager's queue under the directory's shared lock. A wait for another
  /// process happens on a thread of its own, for the directory's limit at most: the manager serves
  /// other requests meanwhile.
  func withSharedLock(
    of directory: ModuleDirectory, failed: @escaping @Sendable (ModuleError) -> Void,
    _ body: @escaping @Sendable (Primitive.Shared<DirectoryLock>) -> Void
  ) {
    do throws(ModuleFileError) {
      if let lock = try DirectoryLock(sharedAtOnce: directory.path) { return body(Primitive.Shared(lock)) }
    } catch { return failed(ModuleError(error)) }
    let error = ServiceThread.start(named: "module-lock") {
      do throws(ModuleFileError) {
        let lock = Primitive.Shared(
          try DirectoryLock(
            directory.path, isExclusive: false, within: directory.lockLimit))
        self.queue.run { body(lock) }
      } catch {
        self.queue.run { failed(ModuleError(error)) }
      }
    }
    if error != 0 { failed(ModuleError(directory.path, error, "no thread to wait for its lock")) }
  }
}
