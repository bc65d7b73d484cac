internal import Quiescence

/// What every call of a hook passes, where the caller's section alone does not keep the module's code mapped.
///
/// A gate belongs to the manager, never to an image. It outlives the image: a round that read the hook's function before it
/// was unlinked still comes to the gate, is refused there, and goes on without having touched the image.
package protocol Gate: AnyObject, Sendable {
  /// Lets a call in. Returns what ``leave(_:)`` wants back, from 0 on; below 0 when the module takes no calls any more.
  ///
  /// Inside the section of the round, so it must not wait for anything that waits for a grace period.
  func enter() -> Int

  /// The call has returned.
  func leave(_ token: Int)
}

/// A gate with what a hook point needs beside it. Retired with its hook.
package final class HookGate: Sendable {
  package let gate: any Gate
  /// Calls that were refused: gets that failed.
  let refusals: RefusalCount

  init(_ gate: any Gate, _ refusals: RefusalCount) {
    self.gate = gate
    self.refusals = refusals
  }

  /// Does not keep the gate alive: the hook point does.
  var address: UnsafeRawPointer { UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque()) }
}

/// Gets that failed because the module was going; of one module, and of all together.
package final class RefusalCount: Sendable {
  private let count = Primitive.Word(0)
  private let total: RefusalCount?

  package init(total: RefusalCount? = nil) { self.total = total }

  package var value: Int { count.load(ordering: .relaxed) }

  package func increment() {
    count.wrappingAdd(1, ordering: .relaxed)
    total?.increment()
  }
}

extension HookFunction {
  /// Calls the hook behind its gate, if it has one. Nil when that refuses.
  func callBehindGate(_ argument: UnsafeMutableRawPointer) -> Int32? {
    guard let gate else { return call(argument, context) }
    // The hook point retires it after the table that this function is in.
    return Unmanaged<HookGate>.fromOpaque(gate)._withUnsafeGuaranteedRef { hook in
      let token = hook.gate.enter()
      if token < 0 {
        hook.refusals.increment()
        return nil
      }
      let verdict = call(argument, context)
      hook.gate.leave(token)
      // Behind a gate a call is a user, as far as an unload is concerned.
      ReleaseNotifier.ring()
      return verdict
    }
  }
}
