internal import Glibc
internal import _ImageShims

/// Reports that say in which module a process has crashed, also when that module is gone.
///
/// ```swift
/// func prepare() throws(ModuleError) { try CrashReports.install() }
/// ```
///
/// A crash then writes one block, and the process dies as it would have died without it, with its
/// core file:
///
/// ```
/// quiescence: SIGSEGV at address 0x0, thread 4711 (worker)
///   in drop 1.2+0x1139 (loaded for 12 ms, /opt/modules/drop.so)
///   returns to track 0.3+0x1204 (loaded for 7021 ms, /opt/modules/track.so)
/// ```
///
/// The same is in the process's memory, and in its core file, as the symbol `qs_module_table`; the
/// script `Scripts/quiescence-gdb.py` reads it.
public enum CrashReports {
  /// Installs handlers of `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGABRT` and `SIGTRAP`, for the
  /// whole process. The handlers that were there before are put back by the first crash, and get
  /// its signal. A second call only changes the descriptor.
  ///
  /// A report takes no lock and no memory. If several threads crash at once, the first one is
  /// reported. A file that takes nothing, such as a full pipe, delays the end by one second for
  /// each 2 KiB. A thread that has used up its stack is reported if it has a stack for signals
  /// (sigaltstack(2)).
  ///
  /// - Parameter descriptor: Where reports go: standard error. The caller keeps it open.
  /// - Threads: any. Cost: seven system calls.
  /// - Throws: `EBADF` for a descriptor that is not open.
  public static func install(writingTo descriptor: Int32 = 2) throws(ModuleError) {
    if fcntl(descriptor, F_GETFD) < 0 {
      throw ModuleError("crash reports", errno, "descriptor \(descriptor) is not open")
    }
    let error = qs_crash_install(descriptor)
    if error != 0 { throw ModuleError("crash reports", error, "a signal's handler cannot be installed") }
  }
}

/// The module that an address belongs to, or belonged to before its image was unmapped.
///
/// ```swift
/// func explain(_ address: UnsafeRawPointer) {
///   // "drop 1.2+0x1139 (unmapped, /opt/modules/drop.so)"
///   print(ModuleAddress(address)?.description ?? "no module's")
/// }
/// ```
public struct ModuleAddress: Hashable, Sendable, CustomStringConvertible {
  /// The module's name in its file.
  public let module: String
  /// The version in the module's description.
  public let version: String?
  /// The file that it was loaded from.
  public let path: String
  /// Bytes from the beginning of the image's first mapping; for a file as linkers write it, the
  /// address that `nm` and `addr2line` show.
  public let offset: UInt
  /// Whether the image is mapped now.
  public let isMapped: Bool

  /// Looks the address up among the modules of the process's managers: loaded ones first, then
  /// those that are gone, the latest first. At least the last 256 loads are known, unless more are
  /// loaded at once. Nil if it belonged to none of these.
  ///
  /// - Threads: any. Cost: a look at 256 records; no lock.
  public init?(_ address: UnsafeRawPointer) {
    var record = qs_module_record()
    let index = qs_module_record_at(UInt(bitPattern: address))
    if index < 0 || qs_module_record_copy(index, &record) != 0 { return nil }
    module = Self.text(record.name)
    let version = Self.text(record.version)
    self.version = version.isEmpty ? nil : version
    path = Self.text(record.path)
    offset = UInt(bitPattern: address) - UInt(record.start)
    isMapped = record.state != QS_MODULE_GONE.rawValue
  }

  /// Such as `drop 1.2+0x1139 (unmapped, /opt/modules/drop.so)`.
  public var description: String {
    let version = version.map { " \($0)" } ?? ""
    let place = String(offset, radix: 16)
    return "\(module)\(version)+0x\(place) (\(isMapped ? "mapped" : "unmapped"), \(path))"
  }

  /// The characters before the first zero.
  private static func text<Characters>(_ characters: Characters) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
