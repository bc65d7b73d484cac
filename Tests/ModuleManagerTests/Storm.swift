import Foundation
import ModuleManager
import Quiescence
import Synchronization
import TestSupport

/// Eight threads call, two load and two unload real images. `init` fails at each of its steps in
/// turn; `exit` refuses once or twice.
final class Storm: Sendable {
  /// Events that must never happen, and the amount of work.
  struct Outcome: Sendable {
    var wrong: [String] = []
    var calls = 0
    var loads = 0
    var unloads = 0
    var refusals = 0
    var failedInits = 0
  }

  private let manager: ModuleManager
  private let point = Guest.point()
  private let isOver: @Sendable (_ unloads: Int) -> Bool
  private let variants: [[String]]
  private let outcome = Mutex(Outcome())
  private let complaints = Lines()
  private let unloaders = Counter(2)
  private let start = ContinuousClock.now

  static let names = ["red", "blue"]

  /// - Parameters:
  ///   - patience: How long a call of a module's code may take before another thread takes the
  ///     manager's queue over; nil: as long as in service.
  ///   - isOver: Called by the unloading threads, with the total number of unloads.
  init(
    _ scheme: UnloadScheme, patience: Duration? = nil,
    until isOver: @escaping @Sendable (_ unloads: Int) -> Bool
  ) {
    manager =
      patience.map { ModuleManager(scheme: scheme, patience: $0) } ?? ModuleManager(scheme: scheme)
    manager.provide(point)
    self.isOver = isOver
    variants = Self.names.map { name in
      [Guest.file(name)] + (1...4).map { Guest.file(name, failingAt: $0) }
        + (1...2).map { Guest.file(name, refusals: $0) }
    }
    manager.setLog { [complaints] module, line in complaints.add("\(module): \(line)") }
  }

  /// Runs the storm on threads of its own. Returns after everything is unloaded.
  func run() async -> Outcome {
    await onThreads(12) { index in
      switch index {
      case 0..<2: self.load(index)
      case 2..<4: self.unload(index - 2)
      default: self.call(seed: UInt64(index))
      }
    }
    for index in Self.names.indices { await clear(index) }
    for index in Self.names.indices { await tryAgain(index) }
    var outcome = outcome.withLock { $0 }
    outcome.wrong += complaints.all
    return outcome
  }

  private func note(_ change: (inout Outcome) -> Void) { outcome.withLock { change(&$0) } }

  private var isStormy: Bool { unloaders.value > 0 }

  private var isLull: Bool {
    let milliseconds = start.duration(to: .now) / .milliseconds(1)
    return milliseconds.truncatingRemainder(dividingBy: 40) < 6
  }
}

// MARK: - The threads

extension Storm {
  private func load(_ index: Int) {
    var turn = 0
    while isStormy {
      // Every second load is of the module that works.
      let variant = turn % 2 == 0 ? 0 : 1 + (turn / 2) % (variants[index].count - 1)
      do {
        _ = try manager.load(path: variants[index][variant])
        note { $0.loads += 1 }
        turn += 1
      } catch {
        switch error.errno {
        case ENODEV where (1...4).contains(variant):
          note { $0.failedInits += 1 }
          turn += 1
        // Loaded, or in cleanup after a request to unload it.
        case EEXIST: sched_yield()
        default: note { $0.wrong.append("load: \(error)") }
        }
      }
    }
  }

  private func unload(_ index: Int) {
    let policies: [BusyPolicy] = [.fail, .fail, .wait, .force]
    var turn = 0
    while !isOver(outcome.withLock { $0.unloads }) {
      turn += 1
      let policy = policies[turn / 2 % policies.count]
      do {
        // Both modules every second time.
        if turn % 2 == 0 {
          note(.success(try manager.unload(Self.names[index], ifBusy: policy)))
        } else {
          for unload in try manager.unload(together: Self.names, ifBusy: policy) { note(unload.result) }
        }
      } catch { note(.failure(error)) }
    }
    unloaders.add(-1)
  }

  private func note(_ result: Result<UnloadOutcome, ModuleError>) {
    switch result {
    case .success(.unloaded(let report)):
      note { $0.unloads += 1 }
      if !report.unmapped { note { $0.wrong.append("\(report) stays mapped") } }
    case .success(.deferred): note { $0.unloads += 1 }
    case .success(.resident(let image, let reason)): note { $0.wrong.append("\(image): \(reason)") }
    case .failure(let error):
      switch error.errno {
      case ENOENT: sched_yield()
      case EBUSY, manager.scheme.busyErrno: note { $0.refusals += 1 }
      default: note { $0.wrong.append("unload: \(error)") }
      }
    }
  }

  private func call(seed: UInt64) {
    var random = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    func roll(_ sides: UInt64) -> UInt64 {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      return random % sides
    }
    var packets: [Guest.Argument] = []
    var objects: [OpenObject] = []
    var calls = 0
    while isStormy {
      let commands: [Guest.Command] = [
        .look, .look, .look, .pause, .attachCount, .attachReference, .retire,
      ]
      var packet = Guest.Argument(commands[Int(roll(7))])
      let result = point.dispatch(&packet)
      calls += result.called
      if Int(packet.calls) != result.called || (result.called > 0 && packet.magic != Guest.magic) {
        note { $0.wrong.append("a call into a module that has left: \(packet)") }
      }
      if packet.callbackCount > 0 { packets.append(packet) }
      if packets.count > roll(8) { packets.removeFirst().finish() }
      if roll(64) == 0, let object = try? manager.open("\(Self.names[Int(roll(2))])-object", holder: "caller")
      {
        objects.append(object)
      }
      if !objects.isEmpty && roll(16) == 0 { read(objects.removeFirst()) }
      // All threads pause now and then, so that a scheme without a promise of progress under
      // constant use also makes progress.
      if roll(8) == 0 && isLull {
        for packet in packets { packet.finish() }
        packets = []
        for object in objects { read(object) }
        objects = []
        while isStormy && isLull { usleep(500) }
      }
    }
    for packet in packets { packet.finish() }
    for object in objects { object.close() }
    note { $0.calls += calls }
  }

  private func read(_ object: OpenObject) {
    let text = try? object.read(from: 0, upTo: 16)
    if text != Array("hello".utf8) { note { $0.wrong.append("an open object reads \(text ?? [])") } }
    object.close()
  }
}

// MARK: - After the storm

extension Storm {
  /// Unloads the remaining module of a name.
  private func clear(_ index: Int) async {
    let name = Self.names[index]
    while manager.list().contains(where: { $0.name == name }) {
      // In cleanup, `exit` refuses once or twice more; a module that is going is unloaded already.
      if await moduleError({ try await self.manager.unload(name, ifBusy: .wait) }) != nil {
        await Task.yield()
      }
    }
    for path in variants[index] where isMapped(path) { note { $0.wrong.append("\(path) is mapped") } }
  }

  /// Checks that a module of this name can be loaded and unloaded again, so no unusable module is
  /// left.
  private func tryAgain(_ index: Int) async {
    let name = Self.names[index]
    do {
      try await manager.load(path: variants[index][0])
      var argument = Guest.Argument()
      if point.dispatch(&argument).called != 1 { note { $0.wrong.append("\(name) is a zombie") } }
      let object = try manager.open("\(name)-object", holder: "the end")
      object.close()
      if !(try await manager.unload(name).isUnmapped) { note { $0.wrong.append("\(name) stays mapped") } }
    } catch { note { $0.wrong.append("\(name) is a zombie: \(error)") } }
    if !manager.objects().isEmpty { note { $0.wrong.append("names are left: \(manager.objects())") } }
  }
}
