internal import Quiescence

/// What every call of a hook passes, where the caller's section alone does not keep the module's
/// code mapped.
///
/// A gate belongs to the manager, never to an image, and outlives the image: a round that read the
/// hook's function before the hook was unlinked still comes to the gate, is refused there, and
/// continues without touching the image.
package protocol Gate: AnyObject, Sendable {
  /// Admits a call, and returns a token for ``leave(_:)``: 0 or more. Returns a negative number
  /// when the module accepts calls no longer.
  ///
  /// Runs inside the section of the round, so it must not wait for anything that waits for a grace
  /// period.
  func enter() -> Int

  /// The call has returned.
  func leave(_ token: Int)
}

/// A hook's gate, and the count of its refusals. Retired with its hook.
package final class HookGate: Sendable {
  package let gate: any Gate
  let refusals: RefusalCount

  init(_ gate: any Gate, _ refusals: RefusalCount) {
    self.gate = gate
    self.refusals = refusals
  }

  /// Calls `function` behind the gate. Nil when the gate refuses.
  func call(_ function: HookFunction, _ argument: UnsafeMutableRawPointer) -> Int32? {
    let token = gate.enter()
    if token < 0 {
      refusals.increment()
      return nil
    }
    let verdict = function.call(argument, function.context)
    gate.leave(token)
    // Behind a gate a call is a user, as far as an unload is concerned.
    ReleaseNotifier.ring()
    return verdict
  }
}

/// Calls that were refused because the module was being unloaded; of one module, and of all modules
/// together.
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
