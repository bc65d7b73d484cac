internal import Glibc
internal import Quiescence

/// A module directory's lock between processes: shared by those that load from it, exclusive for who writes its index.
///
/// It is `flock(2)` on the directory itself, and so ends with the process, however that ends. Who waits for it stands in line:
/// whoever comes takes the lock of the file `modules.lock` first, and holds it until the directory's is its own. Without that,
/// loaders that come one after the other could keep a writer out for ever. Where that file cannot be made (in a directory
/// that this process only reads) there is no line.
///
/// Unloading takes no lock: an unload touches nothing that processes share. What one process has mapped stays mapped whatever
/// happens to the file.
///
/// Source: seed 004 and its digest (Adam J. Richter: "rmmod: flock LOCK_EX; modprobe: flock LOCK_SH").
public struct DirectoryLock: ~Copyable, Sendable {
  /// The file behind which processes stand in line.
  public static let fileName = "modules.lock"

  private let descriptor: Int32

  /// Waits for the lock. Blocks as long as others have it.
  ///
  /// - Throws: `ENOENT` and the like for a directory that cannot be opened.
  public init(_ directory: String, isExclusive: Bool) throws(ModuleError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleError(directory, errno, "cannot be opened") }
    let line = open("\(directory)/\(Self.fileName)", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    defer { if line >= 0 { Self.release(line) } }
    var error = line < 0 ? 0 : Self.lock(line, LOCK_EX)
    if error == 0 { error = Self.lock(descriptor, isExclusive ? LOCK_EX : LOCK_SH) }
    if error != 0 {
      close(descriptor)
      throw ModuleError(directory, error, "cannot be locked")
    }
    self.descriptor = descriptor
  }

  /// The lock, shared, unless somebody has it to himself or stands in line: then nil.
  fileprivate init?(sharedAtOnce directory: String) throws(ModuleError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleError(directory, errno, "cannot be opened") }
    let line = open("\(directory)/\(Self.fileName)", O_RDWR | O_CLOEXEC)
    defer { if line >= 0 { Self.release(line) } }
    if line >= 0 && Self.lock(line, LOCK_EX | LOCK_NB) != 0 || Self.lock(descriptor, LOCK_SH | LOCK_NB) != 0 {
      close(descriptor)
      return nil
    }
    self.descriptor = descriptor
  }

  deinit { Self.release(descriptor) }

  private static func release(_ descriptor: Int32) {
    // Not by closing alone: a child that was forked meanwhile has the descriptor too, and with it the lock.
    _ = lock(descriptor, LOCK_UN)
    close(descriptor)
  }

  private static func lock(_ descriptor: Int32, _ operation: Int32) -> Int32 {
    while flock(descriptor, operation) != 0 {
      if errno != EINTR { return errno }
    }
    return 0
  }
}

extension ModuleManager {
  /// Runs `body` on the manager's thread with the directory's lock, shared. What waits for another process waits on a thread of
  /// its own: the manager goes on with everything else.
  func withSharedLock(
    of directory: String, failed: @escaping @Sendable (ModuleError) -> Void,
    _ body: @escaping @Sendable (Primitive.Shared<DirectoryLock>) -> Void
  ) {
    do throws(ModuleError) {
      if let lock = try DirectoryLock(sharedAtOnce: directory) { return body(Primitive.Shared(lock)) }
    } catch { return failed(error) }
    let error = ServiceThread.start(named: "module-lock") {
      do throws(ModuleError) {
        let lock = Primitive.Shared(try DirectoryLock(directory, isExclusive: false))
        _ = self.thread.run { body(lock) }
      } catch {
        _ = self.thread.run { failed(error) }
      }
    }
    if error != 0 { failed(ModuleError(directory, error, "no thread to wait for its lock")) }
  }
}
