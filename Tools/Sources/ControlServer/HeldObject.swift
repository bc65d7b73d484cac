import ControlProtocol
import Foundation
import ModuleManager
import Synchronization

/// An open object of the manager. It is held until the client closes it or has gone, or until the
/// module is forced out: then the host closes the object in the client's place.
final class HeldObject: ControlObject {
  let module: String
  private let object: OpenObject

  /// Opens the object that a module publishes under `name`.
  init(_ name: String, of manager: ModuleManager, for holder: String) throws(ModuleError) {
    let revocation = Revocation()
    object = try manager.open(name, holder: holder, onRevoke: { revocation.revoke() })
    module = object.module
    revocation.attach(object)
  }

  /// `EBADF` after the end.
  func read(from offset: UInt64, upTo capacity: Int) throws(ControlError) -> [UInt8] {
    do throws(ModuleError) {
      return try object.read(from: offset, upTo: capacity)
    } catch {
      throw ControlError(error)
    }
  }

  func close() { object.close() }
}

/// Closes an object when its module is forced out, which may happen before `open` has returned it.
private final class Revocation: Sendable {
  private struct State {
    var isRevoked = false
    /// Weak: the manager keeps the revocation as long as the object is open.
    weak var object: OpenObject?
  }

  private let state = Mutex(State())

  func attach(_ object: OpenObject) {
    let isRevoked = state.withLock { state in
      state.object = object
      return state.isRevoked
    }
    if isRevoked { object.close() }
  }

  func revoke() {
    let object = state.withLock { state in
      state.isRevoked = true
      return state.object
    }
    object?.close()
  }
}
