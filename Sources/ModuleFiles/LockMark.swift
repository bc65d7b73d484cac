internal import Glibc
internal import Quiescence

/// Which thread holds a directory's lock: a mark that other processes can read, beside the lock and
/// as short-lived.
///
/// A module's `init` runs under its directory's lock. An `init` that takes the lock exclusively, or
/// starts a process that does and waits for that process, would wait for itself. To return an error
/// instead, a waiter must know whether the lock is held by the thread that waits, or by the thread
/// that started its process. Neither flock(2) nor /proc/locks tells threads apart. So the holder
/// also locks the byte of the directory whose offset is the thread's number (fcntl(2), open file
/// description locks), through the descriptor that holds the directory's lock.
///
/// What is decided, and what is not:
///
/// - The thread that holds the lock: `EDEADLK`, since no other thread releases it.
/// - A process that the holding thread has started, directly or through other processes: `EDEADLK`.
///   We cannot observe whether the thread waits for the process; we assume that it does. A process
///   that outlives the `init` is started on another thread.
/// - A process that another thread of the holding process has started: it waits. The holding thread
///   may keep the lock for a moment only. If the holding thread waits for that process through the
///   other thread, this is not detected, and the wait ends at its limit.
enum LockMark {
  /// `F_OFD_GETLK` and `F_OFD_SETLK`, which the C library's module leaves out.
  private static let getCommand: Int32 = 36, setCommand: Int32 = 37

  /// Marks the calling thread, and no other one, as the holder of the lock behind `descriptor`.
  static func set(_ descriptor: Int32) {
    clear(descriptor)
    // A read lock conflicts with no other mark. It can fail without memory; then a waiter waits
    // until its limit.
    _ = control(descriptor, setCommand, Int16(F_RDLCK), ServiceThread.currentID)
  }

  /// Also for a child that was forked meanwhile and shares the descriptor.
  static func clear(_ descriptor: Int32) {
    var whole = flock()
    whole.l_type = Int16(F_UNLCK)
    _ = fcntl(descriptor, setCommand, &whole)
  }

  /// Why a wait for the lock of the directory behind `descriptor` would not end; nil when no reason
  /// is known.
  static func deadlock(_ descriptor: Int32) -> String? {
    if isSet(descriptor, ServiceThread.currentID) { return "by the thread that has its lock" }
    var process = getpid()
    while let parent = Self.parent(of: process), parent > 0 {
      if let thread = starter(of: process, in: parent), isSet(descriptor, thread) {
        return "by a process that thread \(thread) of process \(parent) has started, which has its lock"
      }
      process = parent
    }
    return nil
  }

  private static func isSet(_ descriptor: Int32, _ thread: pid_t) -> Bool {
    control(descriptor, getCommand, Int16(F_WRLCK), thread) != Int16(F_UNLCK)
  }

  /// The type that the kernel answers; `F_UNLCK` when it refuses.
  private static func control(
    _ descriptor: Int32, _ command: Int32, _ type: Int16, _ thread: pid_t
  ) -> Int16 {
    var lock = flock()
    lock.l_type = type
    lock.l_start = namespace << 22 | off_t(thread)
    lock.l_len = 1
    return fcntl(descriptor, command, &lock) == 0 ? lock.l_type : Int16(F_UNLCK)
  }

  /// A thread's number means a thread only within its namespace; containers may share the
  /// directory. Numbers have 22 bits.
  private static let namespace: off_t = {
    var status = stat()
    return stat("/proc/self/ns/pid", &status) == 0 ? off_t(status.st_ino & 0xffff_ffff) : 0
  }()

  // MARK: Ancestors

  private static func parent(of process: pid_t) -> pid_t? {
    // `PID (NAME) STATE PARENT …`, and a name may have anything in it.
    guard let text = contents("/proc/\(process)/stat"), let end = text.lastIndex(of: ")") else {
      return nil
    }
    let fields = text[end...].split(separator: " ")
    return fields.count > 2 ? pid_t(fields[2]) : nil
  }

  /// The thread of `parent` whose child `process` is. Nil as well where the kernel does not list
  /// the children of threads.
  private static func starter(of process: pid_t, in parent: pid_t) -> pid_t? {
    guard let folder = opendir("/proc/\(parent)/task") else { return nil }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      guard let thread = pid_t(String(decoding: bytes, as: UTF8.self)),
        let children = contents("/proc/\(parent)/task/\(thread)/children")
      else { continue }
      if children.split(separator: " ").contains("\(process)") { return thread }
    }
    return nil
  }

  private static func contents(_ path: String) -> String? {
    guard let bytes = try? ModuleIndex.contents(path) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
