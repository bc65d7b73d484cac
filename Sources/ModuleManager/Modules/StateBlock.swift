internal import Glibc
internal import Quiescence

/// The layout of a module's state, as the module declares it.
struct StateForm: Hashable, Sendable {
  let version: UInt64
  let size: UInt64
}

/// The memory of a module's state: `state` in `quiescent_module.h`.
///
/// It is the host's, and is freed with the last record of a module that has it. Versions of a
/// module share it while one replaces another. What it points to is the modules': the last of them
/// whose `exit` is called frees that. So each is counted, from before its `init` until its first
/// `exit`.
final class StateBlock: Sendable {
  let form: StateForm
  // Written by modules alone.
  nonisolated(unsafe) let address: UnsafeMutableRawPointer
  private let users = Locked(1)

  /// All zero, with one user. Nil when there is no memory.
  init?(_ form: StateForm) {
    guard let size = Int(exactly: form.size) else { return nil }
    var memory: UnsafeMutableRawPointer?
    // As aligned as anything in C, and on cache lines of its own.
    if posix_memalign(&memory, 64, size) != 0 { return nil }
    guard let memory else { return nil }
    memset(memory, 0, size)
    self.form = form
    address = memory
  }

  deinit { free(address) }

  /// Another version goes on with it. False when the last user has left it: what it points to may
  /// be freed.
  func join() -> Bool {
    users.withLock { users in
      if users > 0 { users += 1 }
      return users > 0
    }
  }

  /// A user leaves it. Returns whether that was the last one.
  func leave() -> Bool {
    users.withLock { users in
      users -= 1
      return users == 0
    }
  }
}

extension Module {
  /// What its code and the manager know of its state.
  struct KeptState {
    let block: StateBlock
    /// It was that of the version before.
    let isInherited: Bool
    /// Its `exit` was called; true: as that of the last user.
    var wasLast: Bool?
  }

  /// Makes the state of a module whose `init` comes next, or takes that of `predecessor` over when
  /// both agree on its layout. On the queue.
  func setState(of code: any ModuleCode, from predecessor: Module?) throws(ModuleError) {
    guard let form = code.stateForm else { return }
    if let block = predecessor?.withLinks({ $0.kept?.block }), block.form == form, block.join() {
      withLinks { $0.kept = KeptState(block: block, isInherited: true) }
      return
    }
    guard let block = StateBlock(form) else {
      throw ModuleError(name, ENOMEM, "no memory for its state of \(form.size) bytes")
    }
    withLinks { $0.kept = KeptState(block: block, isInherited: false) }
  }

  /// For its code. Nil when it has none, and in an `exit` that is not that of the last user.
  var stateAddress: UnsafeMutableRawPointer? {
    withLinks { links in
      let isKept = links.calls.current?.kind == .exit && links.kept?.wasLast == false
      return isKept ? nil : links.kept?.block.address
    }
  }

  /// Before its `exit` is called, or would be; a second time does nothing. On the queue.
  func leaveState() {
    withLinks { links in
      guard let kept = links.kept, kept.wasLast == nil else { return }
      links.kept?.wasLast = kept.block.leave()
    }
  }

  /// Its image stays, and with it perhaps a thread: what that may use is not freed.
  func keepMemory() {
    if let kept = withLinks({ $0.kept }) { _ = Unmanaged.passRetained(kept.block) }
    _ = Unmanaged.passRetained(services)
  }

  /// Whether it goes on with the state of the version before.
  var hasInheritedState: Bool { withLinks { $0.kept?.isInherited ?? false } }
}
