internal import Glibc
internal import Quiescence

/// A module directory's lock between processes: shared by those that load from it, exclusive for
/// who writes its index.
///
/// It is `flock(2)` on the directory itself, and so ends with the process, however that ends. Who
/// waits for it stands in line: whoever comes takes the lock of the file `modules.lock` first, and
/// holds it until the directory's is its own. Without that, loaders that come one after the other
/// could keep a writer out for ever. Where that file cannot be made (in a directory that this
/// process only reads) there is no line.
///
/// Unloading takes no lock: an unload touches nothing that processes share. What one process has
/// mapped stays mapped whatever happens to the file.
///
/// Source: Adam J. Richter, 23 December 2002 ("rmmod: flock LOCK_EX; modprobe: flock LOCK_SH").
public struct DirectoryLock: ~Copyable, Sendable {
  /// The file behind which processes stand in line.
  public static let fileName = "modules.lock"

  private let descriptor: Int32

  /// Waits for the lock. Blocks as long as others have it. It belongs to the calling thread,
  /// whoever gives it back.
  ///
  /// A thread that has it shared may have it shared again, whoever stands in line.
  ///
  /// - Throws: `ENOENT` and the like for a directory that cannot be opened; `EDEADLK` where the
  ///   calling thread has it already, or the thread that started this process, or one of those that
  ///   it was started by: a module's `init` runs under the lock.
  public init(_ directory: String, isExclusive: Bool) throws(ModuleError) {
    let descriptor = try Self.open(directory)
    let line = Glibc.open("\(directory)/\(Self.fileName)", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    defer { if line >= 0 { Self.release(line) } }
    let operation = isExclusive ? LOCK_EX : LOCK_SH
    if let error = Self.wait(descriptor, line, operation) {
      close(descriptor)
      throw ModuleError(directory, error.errno, error.reason)
    }
    LockMark.set(descriptor)
    self.descriptor = descriptor
  }

  private static func open(_ directory: String) throws(ModuleError) -> Int32 {
    let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleError(directory, errno, "cannot be opened") }
    return descriptor
  }

  private static func wait(
    _ descriptor: Int32, _ line: Int32, _ operation: Int32
  ) -> (errno: Int32, reason: String)? {
    let isFirst = line < 0 || lock(line, LOCK_EX | LOCK_NB) == 0
    if isFirst && lock(descriptor, operation | LOCK_NB) == 0 { return nil }
    if let who = LockMark.deadlock(descriptor) {
      // Past the line: whoever stands there waits for the one that this would wait for.
      if operation == LOCK_SH && lock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
      return (EDEADLK, "cannot be locked \(who): it would wait for itself")
    }
    var error = isFirst ? 0 : lock(line, LOCK_EX)
    if error == 0 { error = lock(descriptor, operation) }
    return error == 0 ? nil : (error, "cannot be locked")
  }

  /// The lock, shared, unless somebody has it to himself or stands in line: then nil.
  fileprivate init?(sharedAtOnce directory: String) throws(ModuleError) {
    let descriptor = try Self.open(directory)
    let line = Glibc.open("\(directory)/\(Self.fileName)", O_RDWR | O_CLOEXEC)
    defer { if line >= 0 { Self.release(line) } }
    if line >= 0 && Self.lock(line, LOCK_EX | LOCK_NB) != 0 || Self.lock(descriptor, LOCK_SH | LOCK_NB) != 0 {
      close(descriptor)
      return nil
    }
    LockMark.set(descriptor)
    self.descriptor = descriptor
  }

  /// From here on it is the calling thread that has it.
  func adopt() { LockMark.set(descriptor) }

  deinit {
    LockMark.clear(descriptor)
    Self.release(descriptor)
  }

  private static func release(_ descriptor: Int32) {
    // Not by closing alone: a child that was forked meanwhile has the descriptor too, and with it
    // the lock.
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
  /// Runs `body` on the manager's queue with the directory's lock, shared. What waits for another
  /// process waits on a thread of its own: the manager goes on with everything else.
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
        self.queue.run { body(lock) }
      } catch {
        self.queue.run { failed(error) }
      }
    }
    if error != 0 { failed(ModuleError(directory, error, "no thread to wait for its lock")) }
  }
}
