import Bigref
import ModuleFiles
import Synchronization

/// The requests that are under way, by their modules, so that another request can cancel them.
final class PendingRequests: Sendable {
  private struct Entry {
    let keys: Set<String>
    let cancellation: WaitCancellation
  }

  private struct State {
    var entries: [Int: Entry] = [:]
    var last = 0
  }

  private let state = Mutex(State())

  /// Runs `body`; meanwhile `cancel` of one of the names cancels `end`. A path stands for the
  /// module of its file.
  func during<Result, Failure: Error>(
    _ names: [String], _ end: RequestEnd, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let entry = Entry(
      keys: Set(names.map { ModuleName.key(ModuleName.ofFile($0)) }), cancellation: end.cancellation)
    let number = state.withLock { state in
      state.last += 1
      state.entries[state.last] = entry
      return state.last
    }
    defer { state.withLock { _ = $0.entries.removeValue(forKey: number) } }
    return try body()
  }

  /// Cancels what is under way for the module; returns how many requests that are.
  func cancel(_ module: String) -> Int {
    let key = ModuleName.key(module)
    let entries = state.withLock { state in state.entries.values.filter { $0.keys.contains(key) } }
    for entry in entries { entry.cancellation.cancel() }
    return entries.count
  }
}
