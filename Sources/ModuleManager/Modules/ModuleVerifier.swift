internal import Glibc
internal import Quiescence

/// Decides by the content of a module's file whether it may be loaded, for example by a signature.
///
/// ```swift
/// let limit = 1 << 20
/// let manager = ModuleManager()
/// manager.require(
///   ModuleVerifier("size") { content, _ in
///     content.byteCount <= limit ? nil : .init("has more than \(limit) bytes", errno: EFBIG)
///   })
/// ```
///
/// It is called with the manager's own copy of the file, which nothing changes afterwards and which
/// is what will be mapped: before anything of the content is interpreted, and so before anything
/// can be mapped or run. On a thread of the manager with no lock held; it may block, which holds up
/// this load alone, and must not wait for the manager.
///
/// Source: Linux kernel/module/signing.c, `module_sig_check`.
public struct ModuleVerifier: Sendable {
  /// Names the verifier in a refusal.
  public let name: String
  let verify: @Sendable (_ content: RawSpan, _ path: String) -> Refusal?

  /// Why a file is refused.
  public struct Refusal: Error, Hashable, Sendable {
    /// What is wrong, without the file and the number.
    public let reason: String
    /// The error number of the load, as in `errno(3)`.
    public let errno: Int32

    /// The kernel's numbers for signatures of modules: `EKEYREJECTED` when there is none, or it is
    /// not one of this content; `ENOKEY` when its key is unknown; `EBADMSG` when it cannot be read.
    ///
    /// - Precondition: `errno` is positive.
    public init(_ reason: String, errno: Int32) {
      if errno <= 0 { Misuse.refusalWithoutErrno(errno) }
      self.reason = reason
      self.errno = errno
    }
  }

  /// - Parameters:
  ///   - name: names the verifier in a refusal.
  ///   - verify: nil, or why the file is refused. The path, without symbolic links, is that of the
  ///     file that the content was read from.
  public init(
    _ name: String, verify: @escaping @Sendable (_ content: RawSpan, _ path: String) -> Refusal?
  ) {
    self.name = name
    self.verify = verify
  }
}

extension ModuleManager {
  /// From here on, loads an image only if `verifier` does not refuse it. There is no way back: the
  /// rule lasts as long as the manager. Modules that are loaded stay. Built-in modules are a part
  /// of the host, and are not verified.
  ///
  /// A load in progress is verified as well, unless its image is being mapped by now.
  ///
  /// - Complexity: O(1).
  /// - Threads: any.
  ///
  /// Source: Linux `module.sig_enforce`, which cannot be switched off either.
  public func require(_ verifier: ModuleVerifier) {
    withState { $0.verifiers.append(verifier) }
  }

  /// The names of the verifiers that each image has to pass, in the order in which they are asked.
  public var requiredVerifiers: [String] { withState { $0.verifiers.map(\.name) } }
}

extension Misuse {
  @inline(never)
  static func refusalWithoutErrno(_ errno: Int32) -> Never {
    fatalError("ModuleVerifier.Refusal with errno \(errno): an error number is positive")
  }
}
