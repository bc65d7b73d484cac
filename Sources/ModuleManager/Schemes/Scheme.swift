internal import Quiescence

/// How one module is kept, and how it is unloaded. One instance for each module; it knows no other
/// scheme.
///
/// A scheme answers two questions. What does a user do before it enters the module: nothing, a
/// section, a lock, a count? And in which order does an unload keep new users out, look whether
/// there are any, and take the module down? What all have in common (unlinking, `exit`, callbacks,
/// unmapping) are steps of ``UnloadOperation``.
package protocol Scheme: AnyObject, Sendable {
  /// What a call of a hook on `point` passes. Nil: the caller's section is enough.
  func gate(for point: any AnyHookPoint) -> (any Gate)?

  /// Counts a reference to the module. False when it takes no users any more. Any thread, also
  /// inside sections.
  ///
  /// A caller that has found the module by a name looks again whether the name is still there: a
  /// scheme may rely on that.
  func get() -> Bool

  /// Gives a reference back. Any thread, also inside sections.
  func put()

  /// About how many references there are.
  var references: Int { get }

  /// Unloads the module, by the operation's steps, and answers the operation; now, or when the last
  /// user releases it. On the manager's queue, as the last thing that its caller does. The module
  /// is live, and an unload that does not wait has found no users yet; or its `init` failed: then
  /// the policy is to wait, and there is no way back.
  func unload(_ operation: UnloadOperation)

  /// Goes on with a module in ``ModuleState/cleanup``.
  func retry(_ operation: UnloadOperation)
}

extension Scheme {
  package func gate(for point: any AnyHookPoint) -> (any Gate)? { nil }

  package func retry(_ operation: UnloadOperation) {
    operation.begin()
    operation.leave()
  }
}

/// What the instances of a scheme share within one manager: "the network brlock", the locks of its
/// tables.
package final class SchemePlace: Sendable {
  private let things = Primitive.Guarded<[ObjectIdentifier: any AnyObject & Sendable]>([:])

  package init() {}

  /// The one object of this type, made when it is first asked for.
  package func shared<Thing: AnyObject & Sendable>(_ make: () -> Thing) -> Thing {
    things.withLock { things in
      if let thing = things[ObjectIdentifier(Thing.self)] as? Thing { return thing }
      let thing = make()
      things[ObjectIdentifier(Thing.self)] = thing
      return thing
    }
  }
}
