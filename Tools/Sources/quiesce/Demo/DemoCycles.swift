import ControlClient
import ControlProtocol
import Dispatch
import Foundation
import Synchronization
import Traffic

/// Loads, lets work and unloads modules, one after the other, or replaces one again and again; on a
/// thread of its own.
final class DemoCycles: Sendable {
  /// What is done again and again.
  enum Job: Sendable {
    /// These modules come and go in turn.
    case loads([String])
    /// Versions of this module, which is loaded, replace each other.
    case replacements(of: String)
  }

  /// What came of it so far.
  struct Tally: Sendable {
    /// Modules that were loaded, really called by the traffic, and unloaded; or that replaced one,
    /// and were really called.
    var cycles = 0
    /// Cycles after which the host checked that the image was gone.
    var unmapped = 0
    /// What the host needed for each unload.
    var unloadMicroseconds: [Int] = []
    /// From each request to its answer, for replacements.
    var replaceMicroseconds: [Int] = []
    /// Hooks that the relay has called.
    var moduleCalls = 0
    /// Datagrams that did not fit into the relay's receive buffers.
    var kernelDrops = 0
    /// What ended the cycles before their time.
    var failure: String?
  }

  /// Answers that a module works for before it goes, also where the system's buffers allow few in
  /// flight.
  private static let leastUse = 256

  private let job: Job
  private let control: String
  private let traffic: TrafficClient
  private let tally = Mutex(Tally())
  private let isStopping = Atomic(false)
  private let end = DispatchSemaphore(value: 0)

  /// - Parameter control: The host's control socket.
  init(_ job: Job, control: String, traffic: TrafficClient) {
    self.job = job
    self.control = control
    self.traffic = traffic
  }

  func start() {
    Thread.start(named: "cycles") { [self] in
      run()
      end.signal()
    }
  }

  /// Ends after the cycle that is under way; false when it does not end within `limit`.
  func stop(within limit: Duration) -> Bool {
    isStopping.store(true, ordering: .relaxed)
    let isEnded = end.wait(timeout: .now() + limit / .seconds(1)) == .success
    if isEnded { end.signal() }
    return isEnded
  }

  var current: Tally { tally.withLock { $0 } }

  private func run() {
    do throws(ControlError) {
      let client = try ControlClient(path: control)
      var turn = 0
      while !isStopping.load(ordering: .relaxed) {
        let goesOn =
          switch job {
          case .loads(let modules): try cycle(modules[turn % modules.count], client)
          case .replacements(let module): try replace(module, turn + 1, client)
          }
        if !goesOn { break }
        turn += 1
      }
      let drops = try client.stat().kernelDrops
      tally.withLock { $0.kernelDrops = drops }
    } catch {
      tally.withLock { $0.failure = "\(error)" }
    }
  }

  /// Replaces a module by another version, which works until the next turn. False when the traffic
  /// has ended.
  private func replace(_ module: String, _ number: Int, _ client: ControlClient) throws(ControlError) -> Bool
  {
    let start = ContinuousClock.now
    // Nothing holds the old version: the limit is there for a host that does not get on.
    let reply = try client.replace(module, with: module, parameters: ["number": "\(number)"], seconds: 10)
    let duration = ContinuousClock.now - start
    let isUsed = waitForUse()
    let calls = try client.stat().moduleCalls
    tally.withLock { tally in
      tally.moduleCalls = calls
      if calls == reply.moduleCalls { return }
      tally.cycles += 1
      tally.unmapped += reply.unmapped ? 1 : 0
      tally.unloadMicroseconds.append(reply.unloadMicroseconds)
      tally.replaceMicroseconds.append(Int(duration / .microseconds(1)))
      if let reason = reply.waitsFor ?? reply.oldResidentReason {
        tally.failure = "\(module): the old version is still there: \(reason)"
      }
      if !reply.keepsState { tally.failure = "\(module): the new version has not got the state" }
    }
    return isUsed
  }

  /// More answers than there are requests in flight: one of those requests at least was sent after
  /// this call, and has met the module's hooks on both ways.
  private func waitForUse() -> Bool { traffic.waitForAnswers(max(traffic.window, Self.leastUse) + 1) }

  /// False when the traffic has ended.
  private func cycle(_ module: String, _ client: ControlClient) throws(ControlError) -> Bool {
    let loaded = try client.insmod(module)
    let isUsed = waitForUse()
    let unloaded = try unload(loaded.module, client)
    tally.withLock { tally in
      tally.moduleCalls = unloaded.moduleCalls
      if unloaded.moduleCalls == loaded.moduleCalls { return }
      tally.cycles += 1
      tally.unmapped += unloaded.unmapped ? 1 : 0
      tally.unloadMicroseconds.append(unloaded.unloadMicroseconds)
      if let reason = unloaded.residentReason { tally.failure = "\(module): stays mapped: \(reason)" }
    }
    return isUsed
  }

  private func unload(_ module: String, _ client: ControlClient) throws(ControlError) -> RmmodReply {
    do throws(ControlError) {
      return try client.rmmod(module)
    } catch {
      if error.errno != EBUSY { throw error }
      // Packets with the module's callbacks wait for a socket that is full.
      return try client.rmmod(module, .wait)
    }
  }
}
