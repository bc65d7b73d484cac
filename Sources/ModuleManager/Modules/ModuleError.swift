public import Bigref
internal import ModuleFiles
internal import Quiescence

/// Why a module could not be loaded, unloaded or used: one line, and the number that the kernel
/// gives for the same case.
public struct ModuleError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The name or path that the request was about.
  public let module: String
  /// The error number, as in `errno(3)`.
  public let errno: Int32
  /// What is wrong, without the name and the number.
  public let reason: String
  /// The holders that keep the module loaded, if that is the reason.
  public let holders: [ModuleHolder]

  /// The number's name, such as `EBUSY`; `EWOULDBLOCK` where it means that others need the module.
  public let errnoName: String

  /// `name` where a number has several.
  package init(
    _ module: String, _ errno: Int32, named name: String? = nil, _ reason: String,
    holders: [ModuleHolder] = []
  ) {
    self.module = module
    self.errno = errno
    self.reason = reason
    self.holders = holders
    errnoName = name ?? ErrorNumber.name(errno)
  }

  /// The same about a file that was read for a module.
  init(_ error: ModuleFileError) { self.init(error.subject, error.errno, error.reason) }

  /// Runs `body`; what is wrong with a file is thrown as an error about a module.
  static func ofFiles<Result: ~Copyable>(
    _ body: () throws(ModuleFileError) -> Result
  ) throws(ModuleError) -> Result {
    do throws(ModuleFileError) { return try body() } catch { throw ModuleError(error) }
  }

  /// One line: what, why, and the number's name. Of a name that is longer than any path, the
  /// beginning.
  public var description: String {
    let count = module.utf8.count
    let subject = count > 4096 ? "\(module.prefix(60))… (\(count) bytes)" : module
    return "\(subject): \(reason) (\(errnoName))"
  }
}

/// A holder of references to a module: the label that it gave or the kind of reference, and how
/// many.
public typealias ModuleHolder = Bigref.Holder

/// The name of an error number, such as `ENOENT` for 2.
public func errnoName(_ error: Int32) -> String { ErrorNumber.name(error) }
