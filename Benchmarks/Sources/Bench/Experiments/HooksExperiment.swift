import CPeers
import ModuleManager
import Quiescence
import Synchronization

/// The cost of a round through the hooks of a hook point.
struct HooksExperiment: Experiment {
  let name = ExperimentName.hooks
  let hasPromises = true

  /// The largest allowed ratio to the array in C under memb, by number of hooks.
  private let wanted = (count: 4, ratio: 1.15)

  let notes = [
    "Processor time a round on one thread. `hooks` is how many functions the round calls; each counts one up.",
    "Checked: the number of counted calls. `HookPoint, C hooks` calls those of a module that was loaded.",
  ]

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let timer = ReaderTimer(name, on: machine)
    let module = try LoadedHooks()
    defer { module.unload() }
    var rows: [Row] = []
    let counts = scale.promisedOnly ? [wanted.count] : scale.isQuick ? [0, 1, 4, 16] : LoadedHooks.counts
    for count in counts {
      let contenders = self.contenders(count, module).filter {
        !scale.promisedOnly || $0.name == Self.promised || $0.name == Self.inC
      }
      let places = 0..<Int32(PEER_PLACES)
      var rounds = contenders.map { _ in places.map { _ in Rounds() } }
      let sizes = try contenders.map { contender in
        try timer.size(contender, nanoseconds: scale.isQuick ? 1e6 : 5e6, readers: 1) {
          contender.read(0, $0)
        }
      }
      for _ in 0..<min(scale.rounds, 11) {
        for (index, contender) in contenders.enumerated() {
          for place in places {
            rounds[index][Int(place)].add(
              try timer.time(contender, sizes[index], readers: 1) { contender.read(place, $0) })
          }
        }
      }
      rows += zip(contenders, rounds).map { contender, rounds in
        // Not empty: there are several places.
        let best = rounds.min { $0.isFaster(than: $1) }!
        return Row(
          name, contender.name, threads: 1, Row.Parameter("hooks", Double(count)), nanoseconds: best.best,
          median: best.median, clock: .thread)
      }
    }
    let judged = rows.map { row in
      guard row.contender == Self.promised, row.parameter?.value == Double(wanted.count),
        let c = rows.first(where: { $0.contender == Self.inC && $0.parameter == row.parameter })
      else { return row }
      return row.besideC(c, wanted: wanted.ratio)
    }
    return judged.besideC([
      "array, unprotected, C": "array, unprotected, C", Self.inC: Self.inC,
      "array under pthread_rwlock, C": Self.inC,
      Self.promised: Self.inC, "HookPoint, C hooks, QSBR": "array, unprotected, C",
      "HookPoint, Swift hooks, Memb": Self.inC,
      "Mutex of closures, Swift": Self.inC,
    ])
  }

  private static let promised = "HookPoint, C hooks, Memb"
  private static let inC = "array under memb, C"

  private func contenders(_ count: Int, _ module: LoadedHooks) -> [Contender] {
    // A round counts as one too, so that a loop without hooks is seen to run.
    func rounds(_ name: String, _ run: @escaping @Sendable (Int32, UInt64) -> UInt64) -> Contender {
      Contender(name: name, number: UInt64(count) + 1, read: run)
    }
    // The same code as in the hook points, from another image of the same file.
    let array = Hooks(array: peer_hooks_make(UInt64(count), module.hook))
    let points = module.points(count)
    let swift = SwiftHooks(count)
    return [
      rounds("array, unprotected, C") { peer_dispatch_plain(array.array, $0, $1) },
      rounds("HookPoint, C hooks, QSBR", points.dispatchQSBR),
      rounds(Self.inC) { peer_dispatch_memb(array.array, $0, $1) },
      rounds(Self.promised, points.dispatchMemb),
      rounds("HookPoint, Swift hooks, Memb", swift.dispatch),
      rounds("array under pthread_rwlock, C") { peer_dispatch_rwlock(array.array, $0, $1) },
      rounds("Mutex of closures, Swift", swift.dispatchLocked),
    ]
  }

  private struct Hooks: @unchecked Sendable {
    // Unchecked: no thread writes to it.
    let array: OpaquePointer?
  }
}

/// Hooks of a module in C, on several hook points with different numbers of hooks.
private final class LoadedHooks {
  /// The names of the hook points in Modules/traffic.c.
  static let counts = [0, 1, 2, 4, 8, 16]

  /// The function of all its hooks, for the peers.
  var hook: peer_hook { traffic.function }

  private let traffic: TrafficHook
  private let manager = ModuleManager()
  private let all: [Int: Points]

  final class Points: Sendable {
    let memb: HookPoint<UInt64, Memb>
    let qsbr: HookPoint<UInt64, QSBR>

    init(_ count: Int) {
      memb = HookPoint("hooks.\(count)", argumentType: TrafficModule.argumentType, flavor: Memb.self)
      qsbr = HookPoint("online-hooks.\(count)", argumentType: TrafficModule.argumentType, flavor: QSBR.self)
    }

    @Sendable @inline(never)
    func dispatchMemb(at place: Int32, _ rounds: UInt64) -> UInt64 {
      Contender.sum(at: place, rounds) {
        var called = peer_opaque(1)
        _ = memb.dispatch(&called)
        return called
      }
    }

    @Sendable @inline(never)
    func dispatchQSBR(at place: Int32, _ rounds: UInt64) -> UInt64 {
      QSBR.withOnlineReader { reader in
        Contender.sum(at: place, rounds) {
          var called = peer_opaque(1)
          _ = qsbr.dispatch(&called, in: reader)
          return called
        }
      }
    }
  }

  init() throws {
    all = Dictionary(uniqueKeysWithValues: Self.counts.map { ($0, Points($0)) })
    for points in all.values {
      manager.provide(points.memb)
      manager.provide(points.qsbr)
    }
    try TrafficModule.load(into: manager)
    traffic = try TrafficHook()
  }

  /// An element of `counts`.
  func points(_ count: Int) -> Points { all[count]! }

  func unload() { _ = try? manager.unload(TrafficModule.name) }
}

/// Closures as hooks, and behind a lock.
private final class SwiftHooks: Sendable {
  private let point = HookPoint<UInt64, Memb>(
    "swift", argumentType: TrafficModule.argumentType, flavor: Memb.self)
  private let closures: Mutex<[@Sendable (inout UInt64) -> Verdict]>

  init(_ count: Int) {
    let hook: @Sendable (inout UInt64) -> Verdict = { called in
      called &+= 1
      return .accept
    }
    closures = Mutex(Array(repeating: hook, count: count))
    for _ in 0..<count { _ = point.register(hook) }
  }

  @Sendable @inline(never)
  func dispatch(at place: Int32, _ rounds: UInt64) -> UInt64 {
    Contender.sum(at: place, rounds) {
      var called = peer_opaque(1)
      _ = point.dispatch(&called)
      return called
    }
  }

  @Sendable @inline(never)
  func dispatchLocked(at place: Int32, _ rounds: UInt64) -> UInt64 {
    Contender.sum(at: place, rounds) {
      closures.withLock { closures in
        var called = peer_opaque(1)
        for closure in closures where closure(&called) != .accept { break }
        return called
      }
    }
  }
}
