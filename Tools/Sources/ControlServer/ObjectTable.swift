import ControlProtocol
import Foundation
import Synchronization

/// The objects that one client holds open, by their handles.
///
/// The client's thread opens, reads and closes; any thread may end the table when the client has
/// gone.
final class ObjectTable: Sendable {
  private struct State {
    var objects: [Int: any ControlObject] = [:]
    var lastHandle = 0
    var isEnded = false
  }

  private let state = Mutex(State())

  /// The most objects that one client holds open at a time.
  static let limit = 64

  /// `EMFILE` when there are as many as there may be. After the end, the object is closed at once.
  func add(_ name: String, _ open: () throws(ControlError) -> any ControlObject) throws(ControlError)
    -> OpenReply
  {
    if state.withLock({ $0.objects.count }) >= Self.limit {
      throw ControlError(EMFILE, "\(name): this connection holds \(Self.limit) objects")
    }
    let object = try open()
    let handle: Int? = state.withLock { state in
      if state.isEnded { return nil }
      state.lastHandle += 1
      state.objects[state.lastHandle] = object
      return state.lastHandle
    }
    if handle == nil { object.close() }
    return OpenReply(handle: handle ?? 0, module: object.module)
  }

  /// Reads an object.
  func read(_ handle: Int, from offset: UInt64, upTo capacity: Int) throws(ControlError) -> [UInt8] {
    guard let object = state.withLock({ $0.objects[handle] }) else { throw Self.isUnknown(handle) }
    return try object.read(from: offset, upTo: capacity)
  }

  func close(_ handle: Int) throws(ControlError) {
    let object = state.withLock { $0.objects.removeValue(forKey: handle) }
    guard let object else { throw Self.isUnknown(handle) }
    object.close()
  }

  /// Whether no object is open.
  var isEmpty: Bool { state.withLock { $0.objects.isEmpty } }

  /// A module that an open object belongs to, and for which `condition` holds.
  func module(where condition: (String) -> Bool) -> String? {
    state.withLock { $0.objects.values.map(\.module) }.first(where: condition)
  }

  /// Closes every object, also those that come later. Any thread; idempotent.
  func end() {
    let objects = state.withLock { state in
      state.isEnded = true
      defer { state.objects = [:] }
      return Array(state.objects.values)
    }
    for object in objects { object.close() }
  }

  private static func isUnknown(_ handle: Int) -> ControlError {
    ControlError(EBADF, "\(handle): no such handle on this connection")
  }
}
