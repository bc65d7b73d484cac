import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules that do what a module must not do; and what has to go on meanwhile.
struct Misbehavior {
  let manager: ModuleManager
  let point = HookPoint<SampleModules.Argument, Memb>(
    "point", argumentType: SampleModules.argumentType, flavor: Memb.self)

  /// - Parameter isPatient: see `Guest.manager`.
  init(_ scheme: UnloadScheme = .bigref, isPatient: Bool = false) {
    manager = isPatient ? ModuleManager(scheme: scheme, patience: nil) : ModuleManager(scheme: scheme)
    manager.provide(point)
  }

  /// What a module hangs at: while the file is not there.
  struct Gate: Sendable {
    let path = SampleModules.folder.appending(path: "gate-\(UUID().uuidString)").path

    /// A statement in C that returns when the gate is open.
    var wait: String { "while (access(\"\(path)\", F_OK) != 0) usleep(1000);" }

    func open() { #expect(FileManager.default.createFile(atPath: path, contents: nil)) }
  }

  /// A module of these functions, beside a `hook`, an `init` that registers it, and an `exit`.
  static func module(
    _ name: String, hook: String = "", initialize: String = "", exit: String = "return 0;",
    functions: String = "",
    members: String = ""
  ) -> String {
    // A file of its own: tests of several schemes run at the same time.
    SampleModules.build(
      "\(name)-\(UUID().uuidString)",
      """
      #include <unistd.h>
      \(functions)
      static int hook(void *argument, void *context) {
        (void)context;
        struct argument *a = argument;
        a->calls += 1;
        \(hook)
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        \(initialize)
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { \(exit) }
      QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave\(members))
      """)
  }

  /// Calls the hooks. Returns how many there were.
  func call() -> Int {
    var argument = SampleModules.Argument()
    let result = point.dispatch(&argument)
    return Int(argument.calls) == result.called ? result.called : -1
  }

  /// A module that retires is loaded, called and unloaded; lists, objects, events and traces go on.
  func expectOthersGoOn(_ scheme: UnloadScheme? = nil) async throws {
    let name = "good-\(UUID().uuidString.prefix(8))"
    let path = Self.module(
      name, hook: "host->retire(self, free, malloc(8));", exit: "return host->retire(self, free, malloc(8));")
    let trace = manager.trace()
    defer { trace.stop() }
    var events = manager.events().makeAsyncIterator()
    try await manager.load(path: path, policy: ModulePolicy(scheme: scheme))
    while let event = await events.next() { if event.module == name && event.state == .coming { break } }
    #expect(call() >= 1)
    #expect(manager.list().contains { $0.name == name && $0.state == .live })
    #expect(try await manager.unload(name, ifBusy: .wait).isUnmapped)
    #expect(!isMapped(path))
    let kinds = trace.read().events.filter { $0.module == name }.map(\.kind)
    #expect(kinds.contains(.initialize) && kinds.contains(.exit))
  }

  func status(_ name: String) -> ModuleStatus? { manager.list().first { $0.name == name } }

  /// Until the module is inside, or waits for, what `kind` says.
  func whenInside(_ name: String, _ kind: ModuleActivity.Kind) async {
    while status(name)?.activity?.kind != kind { await Task.yield() }
  }

  func whenGone(_ name: String) async { while status(name) != nil { await Task.yield() } }

  /// What an unload is told at the end of a short limit, of one that has come to what `kind` says
  /// and is given up then.
  func unloadError(_ name: String, inside kind: ModuleActivity.Kind) async -> ModuleError? {
    let manager = manager
    let unload = Task { try await manager.unload(name, ifBusy: .wait) }
    await whenInside(name, kind)
    let error = await unloadError(name)
    unload.cancel()
    _ = await unload.result
    return error
  }

  /// What a request is told that is cancelled when the module is inside, or waits for, what `kind`
  /// says.
  func error<Success: Sendable>(
    whenCancelledInside kind: ModuleActivity.Kind, of name: String,
    _ request: @escaping @Sendable () async throws(ModuleError) -> Success
  ) async -> ModuleError? {
    let task = Task { () async -> ModuleError? in
      do throws(ModuleError) { _ = try await request() } catch { return error }
      return nil
    }
    await whenInside(name, kind)
    task.cancel()
    return await task.value
  }

  /// What a load is told at the end of a short limit, of one that has come to what `kind` says and
  /// is given up then.
  func loadError(
    _ path: String, of name: String, inside kind: ModuleActivity.Kind
  ) async -> ModuleError? {
    let manager = manager
    let load = Task { try await manager.load(path: path) }
    await whenInside(name, kind)
    let error = await moduleError { try await manager.load(path: path, within: .milliseconds(20)) }
    load.cancel()
    _ = await load.result
    return error
  }

  /// What is said at the end of a short limit; or without one, by an unload that does not wait.
  func unloadError(_ name: String, ifBusy policy: BusyPolicy = .wait) async -> ModuleError? {
    let limit: Duration? = policy == .fail ? nil : .milliseconds(20)
    return await moduleError { try await manager.unload(name, ifBusy: policy, within: limit) }
  }
}
