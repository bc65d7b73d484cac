internal import Glibc
internal import Quiescence

/// A module directory's lock between processes: shared by the loads from the directory, exclusive
/// for a writer of its index.
///
/// The lock is `flock(2)` on the directory itself, so it ends with the process that holds it.
/// Waiters queue: each first takes the lock of the file `modules.lock`, and holds that until it has
/// the directory's lock. Without the queue, loads that follow each other without a gap would keep a
/// writer out.
///
/// The mode of `modules.lock` decides which processes queue: a process that may not read the file
/// waits for the directory's lock alone. The file is created with mode 0600, so that no other user
/// can hold the queue up; grant read permission to the group of users that share the directory. In
/// a directory that cannot be written, and has no such file, there is no queue.
///
/// No wait is endless. Any process that may open the directory can lock it, so a wait ends at its
/// limit, with the holder's process in the error.
///
/// Unloading takes no lock: an unload changes nothing that processes share. What a process has
/// mapped stays mapped when the file is replaced.
///
/// Source: Adam J. Richter, 23 December 2002 ("rmmod: flock LOCK_EX; modprobe: flock LOCK_SH").
public struct DirectoryLock: ~Copyable, Sendable {
  /// The file on which waiters queue.
  public static let fileName = "modules.lock"

  /// How long a lock is waited for when the caller does not say.
  public static let defaultLimit = Duration.seconds(10)

  private let descriptor: Int32

  /// Waits for the lock, for `limit` at most. The lock belongs to the calling thread, whichever
  /// thread ends it.
  ///
  /// A thread that holds the lock shared can take it shared again, past the queue.
  ///
  /// - Complexity: two `open(2)`, two `flock(2)`; while it waits, a `flock(2)` every 10 ms.
  /// - Threads: any; blocks.
  /// - Throws: `ENOENT` and the like for a directory that cannot be opened; `ETIMEDOUT` at the
  ///   limit, naming the processes that hold the lock; `EDEADLK` where the calling thread holds it
  ///   already, or the thread that started this process, or one of its ancestors: a module's `init`
  ///   runs under the lock.
  public init(
    _ directory: String, isExclusive: Bool, within limit: Duration = DirectoryLock.defaultLimit
  ) throws(ModuleFileError) {
    let descriptor = try Self.open(directory)
    let queue = Glibc.open("\(directory)/\(Self.fileName)", O_RDONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { if queue >= 0 { Self.release(queue) } }
    let operation = isExclusive ? LOCK_EX : LOCK_SH
    if let error = Self.wait(descriptor, queue, operation, directory, limit) {
      close(descriptor)
      throw error
    }
    LockMark.set(descriptor)
    self.descriptor = descriptor
  }

  private static func open(_ directory: String) throws(ModuleFileError) -> Int32 {
    let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleFileError(directory, errno, "cannot be opened") }
    return descriptor
  }

  private static func wait(
    _ descriptor: Int32, _ queue: Int32, _ operation: Int32, _ directory: String, _ limit: Duration
  ) -> ModuleFileError? {
    let isFirst = queue < 0 || FileLock.take(queue, LOCK_EX) == 0
    if isFirst && FileLock.take(descriptor, operation) == 0 { return nil }
    if let reason = LockMark.deadlock(descriptor) {
      // Past the queue: its first waiter waits for the lock that the calling thread holds.
      if operation == LOCK_SH && FileLock.take(descriptor, LOCK_SH) == 0 { return nil }
      return ModuleFileError(directory, EDEADLK, "cannot be locked \(reason): it would wait for itself")
    }
    let wait = FileLock.Wait(limit)
    if !isFirst, let error = wait.take(queue, LOCK_EX, of: "\(directory)/\(fileName)") { return error }
    return wait.take(descriptor, operation, of: directory)
  }

  /// The shared lock, if no process holds it exclusively or queues for it; nil otherwise. Does not
  /// wait.
  package init?(sharedAtOnce directory: String) throws(ModuleFileError) {
    let descriptor = try Self.open(directory)
    let queue = Glibc.open("\(directory)/\(Self.fileName)", O_RDONLY | O_CLOEXEC)
    defer { if queue >= 0 { Self.release(queue) } }
    if queue >= 0 && FileLock.take(queue, LOCK_EX) != 0 || FileLock.take(descriptor, LOCK_SH) != 0 {
      close(descriptor)
      return nil
    }
    LockMark.set(descriptor)
    self.descriptor = descriptor
  }

  /// From here on the lock belongs to the calling thread.
  package func adopt() { LockMark.set(descriptor) }

  deinit {
    LockMark.clear(descriptor)
    Self.release(descriptor)
  }

  private static func release(_ descriptor: Int32) {
    // Closing alone is not enough: a child that was forked meanwhile shares the descriptor, and
    // with it the lock.
    _ = flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}
