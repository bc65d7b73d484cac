import Foundation
import ModuleManager
import Quiescence
import Relay
import Synchronization
import Traffic

/// One scheme under the relay's traffic.
final class SchemeRun {
  private let scheme: UnloadScheme
  private let seconds: Double
  private let manager: ModuleManager
  private let relay: Relay
  private let server: EchoServer
  private let traffic: TrafficClient
  private let module: String
  private let costs: SchemeCosts

  /// Starts a relay, an echo server behind it, and a client in front of it. Blocks.
  init(_ scheme: UnloadScheme, seconds: Double, moduleDirectory: String) throws {
    self.scheme = scheme
    self.seconds = seconds
    module = moduleDirectory + "/counter.so"
    manager = ModuleManager(scheme: scheme)
    server = try EchoServer()
    relay = try Relay(
      listen: SocketAddress(parsing: "127.0.0.1:0"), forward: server.address, workers: 2,
      flowTimeout: .seconds(60))
    traffic = try TrafficClient(target: relay.boundAddress)
    // Without traffic: nothing else runs beside.
    costs = try SchemeCosts(scheme, probe: moduleDirectory + "/probe.so")
    for point in [relay.prerouting, relay.forward, relay.postrouting] { manager.provide(point) }
  }

  func run() throws -> SchemeRow {
    try server.start(niceness: 5)
    try relay.start()
    try traffic.start(niceness: 5)
    defer {
      relay.stop()
      server.stop()
    }
    var unloads: [Duration] = []
    var gracePeriods: [Duration] = []
    var refused = 0
    var leftMapped = 0
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while clock.now < end {
      let status = try manager.load(path: module)
      _ = traffic.waitForAnswers(traffic.window)
      gracePeriods.append(clock.measure { QSBR.synchronize() })
      attempts: while true {
        switch unload(status.name) {
        case .success(.unloaded(let report)):
          if !report.unmapped { leftMapped += 1 }
          unloads.append(report.duration)
          break attempts
        case .success:
          leftMapped += 1
          break attempts
        case .failure(let error):
          if error.errno != scheme.busyErrno { throw error }
          refused += 1
          _ = traffic.waitForAnswers(1)
        }
      }
    }
    let report = traffic.finish()
    return SchemeRow(
      scheme: scheme.name, source: scheme.source, promises: scheme.promises.map(\.rawValue),
      getPutNanoseconds: costs.getPut, hookNanoseconds: costs.hook, bareCallNanoseconds: costs.bareCall,
      unload: SchemeRow.Latency(unloads), gracePeriod: SchemeRow.Latency(gracePeriods),
      failedGets: manager.failedGets, refusedUnloads: refused, bytes: costs.bytes, lost: report.lost,
      answered: report.answered, unloads: unloads.count, leftMapped: leftMapped)
  }

  /// In a function of its own: in the loop above, a `catch` with a condition is more than the
  /// compiler of 6.3 can take.
  private func unload(_ name: String) -> Result<UnloadOutcome, ModuleError> {
    do throws(ModuleError) { return .success(try manager.unload(name)) } catch { return .failure(error) }
  }
}
