import CControl
import Foundation
import ModuleManager
import Quiescence

/// What a scheme costs one undisturbed thread, and in memory.
struct SchemeCosts {
  /// Nanoseconds of a reference that is taken and given back by a module in C.
  let getPut: Double
  /// Nanoseconds of a dispatch with one hook, on an online reader.
  let hook: Double
  /// Nanoseconds of a call through a pointer.
  let bareCall: Double
  /// Heap of a module that has one hook and no image.
  let bytes: Int

  /// As `struct probe` of `Modules/probe.c` has it.
  private struct Probe {
    var pairs = 0
    var failed = 0
  }

  private typealias Point = HookPoint<Probe, QSBR>

  init(_ scheme: UnloadScheme, probe: String) throws {
    let point = Point("probe", argumentType: "quiesce.probe.1", flavor: QSBR.self)
    let manager = ModuleManager(scheme: scheme)
    manager.provide(point)
    try manager.load(path: probe)
    hook = Self.best { count in Self.dispatch(point, count) }
    getPut = try QSBR.withOnlineReader { reader in
      var argument = Probe()
      let time = Self.best { count in
        argument.pairs = count
        _ = point.dispatch(&argument, in: reader)
      }
      if argument.failed > 0 {
        throw DemoError(description: "\(scheme): a reference was refused although nothing unloads")
      }
      return time
    }
    bareCall = Self.best(Self.callThroughPointer)
    try manager.unload("probe")
    bytes = try Self.heap(scheme, point)
  }

  /// Nanoseconds a round: the best of several runs, the others were disturbed.
  private static func best(_ body: (_ rounds: Int) -> Void) -> Double {
    let rounds = 20_000
    body(rounds)
    let nanoseconds = (0..<20).map { _ in
      ContinuousClock().measure { body(rounds) } / .nanoseconds(1) / Double(rounds)
    }
    return ((nanoseconds.min() ?? 0) * 100).rounded() / 100
  }

  @inline(never)
  private static func dispatch(_ point: Point, _ count: Int) {
    QSBR.withOnlineReader { reader in
      var argument = Probe()
      for _ in 0..<count { _ = point.dispatch(&argument, in: reader) }
    }
  }

  /// A function of the C library that does next to nothing, where the compiler cannot see which one
  /// it is.
  @inline(never)
  private static func callThroughPointer(_ count: Int) {
    typealias Function = @convention(c) (Int) -> Int
    guard let symbol = dlsym(nil, "labs") else { return }
    let function = unsafeBitCast(symbol, to: Function.self)
    var sum = 0
    for index in 0..<count { sum &+= function(index) }
    precondition(sum >= 0)
  }

  private static func heap(_ scheme: UnloadScheme, _ point: Point) throws -> Int {
    let manager = ModuleManager(scheme: scheme)
    let names = (0..<64).map { "module-\($0)" }
    // The first one starts threads, and grows tables.
    func load(_ names: ArraySlice<String>) throws {
      for name in names {
        try manager.load(BuiltInModule(name) { host in host.register(on: point) { _ in .accept } })
      }
    }
    try load(names[..<32])
    QSBR.barrier()
    let before = process_heap_in_use()
    try load(names[32...])
    QSBR.barrier()
    let after = process_heap_in_use()
    for name in names { try manager.unload(name) }
    return (Int(after) - Int(before)) / 32
  }
}
