import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Versions of one module, as images in C, and a manager for them.
struct Versions {
  typealias Argument = SampleModules.Argument

  let manager: ModuleManager
  let point = HookPoint<Argument, Memb>(
    "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
  let log = Lines()

  /// - Parameter isPatient: see `Guest.manager`.
  init(_ scheme: UnloadScheme = .bigref, isPatient: Bool = true) {
    manager = isPatient ? ModuleManager(scheme: scheme, patience: nil) : ModuleManager(scheme: scheme)
    manager.provide(point)
    manager.setLog { [log] module, line in log.add("\(module): \(line)") }
  }

  /// A module whose hook appends `digit` to the argument's `cookie`, and which publishes the object
  /// `NAME-object`, with the digit as its content.
  static func module(
    _ name: String, _ digit: Int, functions: String = "", initialize: String = "", exit: String = "return 0;",
    publishes: Bool = true, members: String = "", options: [String] = []
  ) -> String {
    // Versions have one file name; each has a folder of its own.
    Compiler.module(
      SampleModules.preamble
        + """
        #include <unistd.h>
        #include <stdio.h>
        \(functions)
        static int hook(void *argument, void *context) {
          (void)context;
          struct argument *a = argument;
          a->calls += 1;
          a->cookie = a->cookie * 10 + \(digit);
          return QUIESCENT_ACCEPT;
        }
        static long look(void *context, char *buffer, size_t capacity, uint64_t offset) {
          (void)context;
          if (offset > 0 || capacity == 0) return 0;
          buffer[0] = '0' + \(digit);
          return 1;
        }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          host = h; self = s;
          int error = h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
          if (error) return error;
          if (\(publishes ? 1 : 0)) error = h->publish(s, "\(name)-object", look, NULL);
          if (error) return error;
          \(initialize)
          return 0;
        }
        static int leave(void) { \(exit) }
        QUIESCENT_MODULE(.name = "\(name)", .version = "\(digit)", .init = init, .exit = leave\(members))
        """, in: Compiler.temporaryFolder(), named: name, options: options)
  }

  /// What the hooks append, in their order; -1 when their number is wrong.
  func call() -> Int {
    var argument = Argument()
    let result = point.dispatch(&argument)
    return Int(argument.calls) == result.called ? Int(argument.cookie) : -1
  }

  /// The content of an object.
  func read(_ object: String) throws -> String {
    let object = try manager.open(object, holder: "reader")
    defer { object.close() }
    return String(decoding: try object.read(from: 0, upTo: 100), as: UTF8.self)
  }

  func rows(_ name: String) -> [ModuleStatus] { manager.list().filter { $0.name == name } }

  func value(_ parameter: String, of module: String) async throws -> String? {
    try await manager.parameters(of: module).first { $0.name == parameter }?.value
  }

  /// Until so many versions of the module are listed.
  func whenListed(_ count: Int, _ name: String) async {
    while rows(name).count != count { await Task.yield() }
  }

  /// Until so many versions are inside, or wait for, what `kind` says.
  func whenInside(_ name: String, _ kind: ModuleActivity.Kind, _ count: Int = 1) async {
    while rows(name).count(where: { $0.activity?.kind == kind }) != count { await Task.yield() }
  }
}

extension ModuleReplacement {
  /// The old version has gone from the process.
  var isUnmapped: Bool { (try? unload.get().isUnmapped) ?? false }

  /// What the old version waits for; nil if it does not.
  var deferredHolders: [ModuleHolder]? {
    if case .success(.deferred(let holders)) = unload { holders } else { nil }
  }
}
