import Bigref
import Foundation
import ModuleManager
import Quiescence
import Synchronization
import TestSupport

/// Modules that hang in each of their functions among modules that do not, and requests of every
/// kind with limits and cancellations.
///
/// In a process of its own: it counts threads and descriptors.
final class HangStorm: Sendable {
  /// What must never happen, and how much did.
  struct Outcome: Sendable {
    var wrong: [String] = []
    var requests = 0
    var overdue = 0
    var unloads = 0
    /// How much later than its limit the latest answer came, and the latest of plain timed waits.
    var latest = Duration.zero
    var latestWait = Duration.zero
  }

  /// Where a module hangs.
  enum Place: String, CaseIterable { case initialize, exit, stop, cleanup, usecount, set, callback, hook }

  private let manager: ModuleManager
  private let point = Guest.point()
  /// Of a flavor of its own: the grace periods of its users' unloads alone do not end.
  private let slowPoint = HookPoint<SampleModules.Argument, MB>(
    "slow", argumentType: SampleModules.argumentType, flavor: MB.self)
  private let gate: Misbehavior.Gate
  private let healthy: [String]
  private let hanging: [String: String]
  private let outcome = Mutex(Outcome())
  private let cancellations = Mutex<[WaitCancellation]>([])
  private let isOver: @Sendable (_ requests: Int) -> Bool
  private let left = Counter(4)

  static let names = ["red", "blue"]

  /// - Parameter modules: for one storm.
  init(
    _ scheme: UnloadScheme, _ modules: Modules, until isOver: @escaping @Sendable (_ requests: Int) -> Bool
  ) {
    manager = ModuleManager(scheme: scheme)
    manager.provide(point)
    manager.provide(slowPoint)
    gate = modules.gate
    healthy = modules.healthy
    hanging = modules.hanging
    self.isOver = isOver
  }

  struct Modules: Sendable {
    let gate = Misbehavior.Gate()
    let healthy: [String]
    let hanging: [String: String]

    /// Compiles them. A hook that sleeps is more than the big reader lock can take: every unload
    /// waits for it.
    init(_ label: String, _ scheme: UnloadScheme) {
      let gate = gate
      let places = Place.allCases.filter { $0 != .hook || scheme != .bigReaderLock }
      healthy = HangStorm.names.map { Guest.file("\($0)-\(label)") }
      hanging = Dictionary(
        uniqueKeysWithValues: places.map { place in
          let name = "hang-\(place)-\(label)"
          return (name, HangStorm.module(name, place, gate))
        })
    }
  }

  private static func module(_ name: String, _ place: Place, _ gate: Misbehavior.Gate) -> String {
    func at(_ other: Place) -> String { place == other ? gate.wait : "" }
    let register =
      place == .hook
      ? "return h->register_hook(s, \"slow\", \"\(SampleModules.argumentType)\", 0, hook, NULL);"
      : "return 0;"
    return SampleModules.custom(
      name,
      """
      #include <unistd.h>
      static void callback(void *argument) { (void)argument; \(at(.callback)) }
      __attribute__((unused)) static int hook(void *argument, void *context) {
        (void)context;
        ((struct argument *)argument)->calls += 1;
        \(at(.hook))
        return 0;
      }
      static void stop(void) { \(at(.stop)) }
      static int cleanup(int force) { (void)force; \(at(.cleanup)) return 0; }
      static int64_t usecount(void) { \(at(.usecount)) return 0; }
      static int64_t limit;
      static int set(const struct quiescent_parameter *p, const void *value, size_t count) {
        (void)p, (void)value, (void)count;
        \(at(.set))
        return 0;
      }
      QUIESCENT_PARAMETER(limit, int, "a limit", .flags = QUIESCENT_WRITABLE, .set = set);
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        \(at(.initialize))
        h->retire(s, callback, NULL);
        \(register)
      }
      static int leave(void) { \(at(.exit)) return 0; }
      """,
      ".init = init, .exit = leave, .stop = stop, .cleanup = cleanup, .usecount = usecount")
  }

  /// Runs it on threads of its own, opens the gate, and takes everything down.
  func run() async -> Outcome {
    async let stuck: Void = onThread { self.callSlowPoint() }
    await onThreads(7) { index in
      switch index {
      case 0..<4: self.ask(seed: UInt64(index))
      case 4: self.cancel()
      case 5: self.wait()
      default: self.call()
      }
    }
    // Before the gate is open: those that do not hang go, whatever hangs.
    for index in healthy.indices { await expectHealthy(index) }
    gate.open()
    await stuck
    for name in hanging.keys { await takeDown(name) }
    note { outcome in
      if !self.manager.list().isEmpty { outcome.wrong.append("left: \(self.manager.list().map(\.name))") }
    }
    return outcome.withLock { $0 }
  }

  private func note(_ change: (inout Outcome) -> Void) { outcome.withLock { change(&$0) } }
  private var isStormy: Bool { left.value > 0 }
}

// MARK: - Requests

extension HangStorm {
  private func ask(seed: UInt64) {
    var random = (seed + 1) &* 0x9E37_79B9_7F4A_7C15
    func roll(_ sides: Int) -> Int {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      return Int(random % UInt64(sides))
    }
    let names = hanging.keys.sorted()
    while !isOver(outcome.withLock { $0.requests }) {
      let isHealthy = roll(3) > 0
      let index = roll(healthy.count), name = names[roll(names.count)]
      let path = isHealthy ? healthy[index] : hanging[name] ?? ""
      let module = isHealthy ? (path.isEmpty ? "" : Self.name(ofGuest: index, in: healthy, manager)) : name
      let limit = Duration.milliseconds(1 + roll(30))
      let cancellation = WaitCancellation()
      if roll(3) == 0 { cancellations.withLock { $0.append(cancellation) } }
      let start = ContinuousClock.now
      do throws(ModuleError) {
        switch roll(6) {
        case 0, 1: try manager.load(path: path, within: limit, cancelledBy: cancellation)
        case 2: try manager.unload(module, ifBusy: .fail, within: limit, cancelledBy: cancellation)
        case 3:
          try manager.unload(module, ifBusy: .wait, within: limit, cancelledBy: cancellation)
          note { $0.unloads += 1 }
        case 4:
          for unload in try manager.unload(
            together: [module] + names.prefix(2), ifBusy: .wait, within: limit, cancelledBy: cancellation)
          {
            if case .failure(let error) = unload.result { note(error) }
          }
        default: try manager.set("limit", of: name, to: "7", within: limit, cancelledBy: cancellation)
        }
      } catch { note(error) }
      let late = start.duration(to: .now) - limit
      note {
        $0.requests += 1
        $0.latest = max($0.latest, late)
      }
    }
    left.add(-1)
  }

  /// The guests' names are in their files' own tables: as the manager knows them.
  private static func name(ofGuest index: Int, in files: [String], _ manager: ModuleManager) -> String {
    manager.list().first { $0.path == files[index] }?.name ?? "nosuch"
  }

  private func note(_ error: ModuleError) {
    switch error.errno {
    case ETIMEDOUT, EINTR: note { $0.overdue += 1 }
    case EBUSY, EWOULDBLOCK, ENOENT, EEXIST: break
    default: note { $0.wrong.append("\(error)") }
    }
  }

  /// Cancels what was asked for.
  private func cancel() {
    while isStormy {
      let all = cancellations.withLock { cancellations in
        defer { cancellations = [] }
        return cancellations
      }
      for one in all { one.cancel() }
      usleep(2000)
    }
  }

  /// What the machine makes of a plain timed wait meanwhile.
  private func wait() {
    while isStormy {
      let start = ContinuousClock.now
      Parker().wait(for: .milliseconds(5))
      let late = start.duration(to: .now) - .milliseconds(5)
      note { $0.latestWait = max($0.latestWait, late) }
    }
  }

  private func callSlowPoint() {
    if !hanging.keys.contains(where: { $0.hasPrefix("hang-hook") }) { return }
    while isStormy {
      var argument = SampleModules.Argument()
      // Inside here until the gate is open, once the module is there.
      _ = slowPoint.dispatch(&argument)
      if argument.calls > 0 { return }
      usleep(500)
    }
  }

  private func call() {
    while isStormy {
      var argument = Guest.Argument(.retire)
      let result = point.dispatch(&argument)
      if Int(argument.calls) != result.called {
        note { $0.wrong.append("a call into a module that has left") }
      }
      _ = manager.list()
      usleep(100)
    }
  }
}

// MARK: - Afterwards

extension HangStorm {
  /// Loaded or not: it can be unloaded, loaded and unloaded, within a limit that only a manager
  /// that hangs comes to.
  private func expectHealthy(_ index: Int) async {
    let limit = Duration.seconds(600)
    do {
      // Loads and unloads of the storm go on after their limits. This load waits for their ends,
      // and finds the module live, or loads it.
      let error = await moduleError { try await manager.load(path: healthy[index], within: limit) }
      if let error, error.errno != EEXIST { throw error }
      if let status = manager.list().first(where: { $0.path == healthy[index] }) {
        _ = try await manager.unload(status.name, ifBusy: .wait, within: limit)
      } else {
        note { $0.wrong.append("\(healthy[index]) is not listed") }
      }
      let status = try await manager.load(path: healthy[index], within: limit)
      let outcome = try await manager.unload(status.name, ifBusy: .wait, within: limit)
      if !outcome.isUnmapped { note { $0.wrong.append("\(outcome)") } }
    } catch { note { $0.wrong.append("healthy: \(error)") } }
    if isMapped(healthy[index]) { note { $0.wrong.append("\(healthy[index]) is mapped") } }
  }

  private func takeDown(_ name: String) async {
    while manager.list().contains(where: { $0.name == name }) {
      _ = await moduleError { try await self.manager.unload(name, ifBusy: .wait, within: .milliseconds(100)) }
    }
    if let path = hanging[name], isMapped(path) { note { $0.wrong.append("\(path) is mapped") } }
  }
}
