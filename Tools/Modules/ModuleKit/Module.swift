public import CModuleKit

/// What code of a module in Swift calls of its host.
///
/// The module is Embedded Swift: its image brings the little that it needs of the runtime, shares
/// nothing with the host's, and is unmapped like one in C.
///
/// ```swift
/// @c func module_start() -> CInt {
///   Module.start { () throws(Errno) in
///     try Module.register(Packet.self, typed: "packet.1", on: "forward") { packet in
///       packet.length > 1200 ? .drop : .accept
///     }
///   }
/// }
///
/// @c func module_stop() -> CInt { 0 }
/// ```
///
/// The rules are those of `quiescent_module.h`.
public enum Module {
  /// Runs `body`, and returns what `module_start` returns.
  public static func start(_ body: () throws(Errno) -> Void) -> CInt {
    do throws(Errno) { try body() } catch { return -error.number }
    return 0
  }

  /// Registers `hook` on the hook point named `point`; calls start at once, on several threads.
  ///
  /// What `hook` captures is freed after the module's `module_stop`.
  ///
  /// - Parameters:
  ///   - type: The type in Swift of the argument that the hook point passes.
  ///   - name: Its name, which host and module agree on.
  ///   - priority: Hooks with a lower one run first.
  /// - Throws: as `register_hook` in `quiescent_module.h`.
  public static func register<Argument: ~Copyable>(
    _ type: Argument.Type = Argument.self, typed name: StaticString, on point: StaticString,
    priority: CInt = 0, _ hook: @escaping (inout Argument) -> Verdict
  ) throws(Errno) {
    let context = HookContext { argument in hook(&argument.assumingMemoryBound(to: Argument.self).pointee) }
    let error = module_kit_register(
      point.cString, name.cString, priority, { argument, context in call(argument, context) }, context.address
    )
    // It is freed at the end in either case.
    if error < 0 { throw Errno(-error) }
  }

  /// Calls `body` after every hook that is running now has returned: for memory that hooks may
  /// still read. Inside a hook: yes.
  ///
  /// - Throws: as `retire` in `quiescent_module.h`.
  public static func retire(_ body: @escaping () -> Void) throws(Errno) {
    let context = Unmanaged.passRetained(RetiredContext(body))
    let error = module_kit_retire(
      { context in
        guard let context else { return }
        Unmanaged<RetiredContext>.fromOpaque(context).takeRetainedValue().body()
      }, context.toOpaque())
    if error < 0 {
      context.release()
      throw Errno(-error)
    }
  }

  /// Passes a line to the host's log. May block, so not inside a hook.
  public static func log(_ line: String) {
    var line = line
    line.append("\0")
    line.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { module_kit_log($0.baseAddress) }
    }
  }
}

/// A reference to the module, which stays loaded while it exists.
///
/// Give it away only inside a hook or a callback of the host: anywhere else the code behind the
/// release could be unmapped.
public struct ModuleReference: ~Copyable {
  /// - Throws: `EBUSY` once the module is being unloaded.
  public init() throws(Errno) {
    let error = module_kit_acquire()
    if error < 0 { throw Errno(-error) }
  }

  deinit { module_kit_release() }
}

/// What a hook decides. The first hook that does not accept ends the round.
public enum Verdict: CInt {
  /// Continue with the next hook.
  case accept = 0
  /// Discard the argument.
  case drop = 1
  /// The hook owns the argument now.
  case stolen = 2
}

/// An error number of the host, positive.
public struct Errno: Error {
  /// The number, as in `errno(3)`.
  public let number: CInt

  /// Takes the number.
  public init(_ number: CInt) { self.number = number }
}
