internal import CModuleKit

/// What a hook was registered with. It stays as long as the host may call the hook.
final class HookContext {
  let body: (UnsafeMutableRawPointer) -> Verdict
  private let next: HookContext?

  // Registrations happen in `module_start`, and the end in `module_stop`: on the host's module
  // thread, one after the other.
  nonisolated(unsafe) private static var last: HookContext?

  init(_ body: @escaping (UnsafeMutableRawPointer) -> Verdict) {
    self.body = body
    next = Self.last
    Self.last = self
  }

  var address: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  static func freeAll() { last = nil }
}

/// The function that the host calls for every hook.
func call(_ argument: UnsafeMutableRawPointer?, _ context: UnsafeMutableRawPointer?) -> CInt {
  guard let argument, let context else { return Verdict.accept.rawValue }
  // Without a retain: processors that run the hook at the same time would contend for the count.
  return Unmanaged<HookContext>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.body(argument).rawValue }
}

@_cdecl("module_kit_free_hooks")
func freeHooks() { HookContext.freeAll() }

/// What runs later, once.
final class RetiredContext {
  let body: () -> Void

  init(_ body: @escaping () -> Void) { self.body = body }
}

extension StaticString {
  /// The literal, which ends with a zero.
  var cString: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}
