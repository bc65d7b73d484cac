import Foundation
import Relay
import Synchronization

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

/// A host with the modules that were asked for, and no code in them.
///
/// A module `M` publishes the object `M`, whose content is its name. A module called `slow` takes
/// until ``finishSlowLoad()`` to load.
final class FakeService: ControlService {
  func configuration() -> [ModuleRules] { [] }

  private let state = Mutex(State())
  let followers = Mutex(0)
  private let slowLoad = DispatchSemaphore(value: 0)

  private struct State {
    var modules: [String] = []
    var holders: [String: [String]] = [:]
    var waiters: [String: Int] = [:]
  }

  func insmod(
    _ module: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> InsmodReply {
    if module == "slow" { slowLoad.wait() }
    let isNew = state.withLock { state in
      if state.modules.contains(module) { return false }
      state.modules.append(module)
      return true
    }
    if !isNew { throw ControlError(EEXIST, "\(module): is loaded already") }
    return InsmodReply(module: module, moduleCalls: 1)
  }

  func finishSlowLoad() { slowLoad.signal() }

  /// Waits until no client holds the module, or for the end.
  func rmmod(_ module: String, _ policy: UnloadPolicy, _ end: RequestEnd) throws(ControlError) -> RmmodReply {
    if policy == .fail { return try rmmod(module) }
    let deadline = end.limit.map { ContinuousClock.now + $0 }
    state.withLock { $0.waiters[module, default: 0] += 1 }
    defer { state.withLock { $0.waiters[module, default: 1] -= 1 } }
    while users(of: module) > 0 {
      if end.cancellation.isCancelled { throw ControlError(EINTR, "\(module): the wait was cancelled") }
      if let deadline, ContinuousClock.now >= deadline { throw ControlError(ETIMEDOUT, "\(module): in use") }
      usleep(200)
    }
    return try rmmod(module)
  }

  /// How many requests wait for users.
  var waiting: Int { state.withLock { $0.waiters.values.reduce(0, +) } }

  func cancel(_ module: String) throws(ControlError) -> Int { 0 }

  private func rmmod(_ module: String) throws(ControlError) -> RmmodReply {
    let holders: [String]? = state.withLock { state in
      guard state.modules.contains(module) else { return nil }
      let holders = state.holders[module] ?? []
      if holders.isEmpty { state.modules.removeAll { $0 == module } }
      return holders
    }
    guard let holders else { throw ControlError(ENOENT, "\(module): no such module is loaded") }
    if let holder = holders.first { throw ControlError(EBUSY, "\(module): in use: \(holder)") }
    return RmmodReply(module: module, unmapped: true, unloadMicroseconds: 1, moduleCalls: 2)
  }

  func replace(
    _ module: String, with path: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> ReplaceReply {
    let isLoaded = state.withLock { $0.modules.contains(module) }
    if !isLoaded { throw ControlError(ENOENT, "\(module): no such module is loaded") }
    return ReplaceReply(module: module, version: path, unmapped: true, unloadMicroseconds: 1, moduleCalls: 2)
  }

  func parameters(of module: String) throws(ControlError) -> [ParameterRow] {
    [ParameterRow(parameter: "limit", value: "5", type: "int", writable: true)]
  }

  func set(
    _ parameter: String, of module: String, to value: String, _ end: RequestEnd
  ) throws(ControlError) {
    if parameter != "limit" { throw ControlError(ENOENT, "\(module): has no parameter '\(parameter)'") }
  }

  func request(
    _ module: String, parameters: [String: String], firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RequestReply {
    let isLoaded = state.withLock { $0.modules.contains(module) }
    if isLoaded && firstTime { throw ControlError(EEXIST, "\(module): is loaded already") }
    if !isLoaded && !dryRun { _ = try insmod(module, parameters: parameters, end) }
    return RequestReply(modules: [
      RequestedModule(module: module, path: "/\(module).so", wasLoaded: isLoaded, isDependency: false)
    ])
  }

  func remove(
    _ module: String, firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RemoveReply {
    if !dryRun { _ = try rmmod(module) }
    return RemoveReply(modules: [module])
  }

  func rmmod(
    together modules: [String], _ policy: UnloadPolicy, _ end: RequestEnd
  ) throws(ControlError) -> [UnloadRow] {
    modules.map { module in
      do throws(ControlError) { return UnloadRow(module, try rmmod(module)) } catch {
        return UnloadRow(module, error)
      }
    }
  }

  func lsmod() -> [ModuleRow] {
    state.withLock { state in
      state.modules.map { module in
        ModuleRow(
          module: module, state: state.waiters[module, default: 0] == 0 ? "live" : "going", size: 4096,
          users: state.holders[module, default: []].count, ageSeconds: 0, path: "/\(module).so")
      }
    }
  }

  func unloaded() -> [UnloadedRow] { [] }

  func stat() -> RelayStatistics { RelayStatistics() }

  func objects() -> [String] { state.withLock { $0.modules } }

  func open(_ object: String, holder: String) throws(ControlError) -> any ControlObject {
    let isThere = state.withLock { state in
      if !state.modules.contains(object) { return false }
      state.holders[object, default: []].append(holder)
      return true
    }
    if !isThere { throw ControlError(ENOENT, "\(object): no such object") }
    return FakeObject(module: object) { self.release(object, holder) }
  }

  func trace(capacity: Int, _ filter: TraceFilterRow) -> any ControlTrace {
    followers.withLock { $0 += 1 }
    return FakeTrace(of: filter.modules ?? ["a", "b"]) { self.followers.withLock { $0 -= 1 } }
  }

  private func release(_ module: String, _ holder: String) {
    state.withLock { state in
      if let index = state.holders[module]?.firstIndex(of: holder) {
        state.holders[module]?.remove(at: index)
      }
    }
  }

  func users(of module: String) -> Int { state.withLock { $0.holders[module, default: []].count } }
}

/// Tells of a get of two modules, if they are followed, each time it is read.
private final class FakeTrace: ControlTrace {
  private var end: (() -> Void)?
  private var number: UInt64 = 0

  private let modules: [String]

  init(of modules: [String], end: @escaping () -> Void) {
    self.modules = modules
    self.end = end
  }

  func read(upTo limit: Int) -> TraceReply {
    let rows = ["a", "b"].filter(modules.contains).prefix(limit).map { module in
      number += 1
      return TraceRow(number: number, time: number, thread: 1, event: "get", phase: "moment", module: module)
    }
    return TraceReply(events: rows, lost: 0, now: 5, process: 7)
  }

  func stop() {
    end?()
    end = nil
  }
}

/// Closes once, however often it is told to.
private final class FakeObject: ControlObject {
  let module: String
  private let release: Mutex<(@Sendable () -> Void)?>

  init(module: String, release: @escaping @Sendable () -> Void) {
    self.module = module
    self.release = Mutex(release)
  }

  func read(from offset: UInt64, upTo capacity: Int) throws(ControlError) -> [UInt8] {
    Array(module.utf8.dropFirst(Int(clamping: offset)).prefix(capacity))
  }

  func close() {
    release.withLock { $0.take() }?()
  }
}
