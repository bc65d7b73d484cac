import ControlClient
import ControlProtocol
import Foundation
import Relay
import ToolSupport
import Traffic

/// The main job: modules come and go under live traffic, and nothing is lost.
final class Demo {
  private let seconds: Double
  private let output: DemoOutput
  private let interruption: Interruption
  private let server: EchoServer
  private let host: DemoHost
  private let traffic: TrafficClient
  private let cycles: DemoCycles
  private let start = ContinuousClock.now
  private var complaints: [String] = []

  /// The client asks as fast as it gets answers, and would take the processors from the relay and
  /// the modules that it is there to test.
  private static let niceness: Int32 = 5

  /// The sample modules, in turn.
  private static let modules = ["counter", "conntrack"]

  /// Starts the host and the server. Blocks.
  init(
    seconds: Double, workers: Int, moduleDirectory: String, output: DemoOutput,
    interruption: Interruption
  ) throws {
    self.seconds = seconds
    self.output = output
    self.interruption = interruption
    server = try EchoServer()
    host = try DemoHost(
      forward: server.address, workers: workers, moduleDirectory: moduleDirectory)
    traffic = try TrafficClient(target: host.address)
    cycles = DemoCycles(Self.modules, control: host.controlPath, traffic: traffic)
    try server.start(niceness: Self.niceness)
    try traffic.start(niceness: Self.niceness)
    output.started(
      DemoOutput.Started(
        seconds: seconds, workers: workers, modules: Self.modules, listening: "\(host.address)",
        hostProcess: host.process, control: host.controlPath, window: traffic.window))
  }

  /// Nothing was lost or damaged, every image went, and the host ended in order.
  var isFlawless: Bool { complaints.isEmpty }

  /// Runs until the time is over, the user interrupts, or something fails. Returns what was wrong.
  func run() -> [String] {
    cycles.start()
    watch()
    finish()
    return complaints
  }

  /// Ten looks a second.
  private func watch() {
    var looks = 0
    var lastAnswered = 0
    var lastLook = ContinuousClock.now
    while elapsed < seconds {
      let pause = Duration.seconds(min(0.1, max(0.001, seconds - elapsed)))
      if interruption.wait(for: pause) || host.ended != nil || cycles.current.failure != nil { return }
      looks += 1
      let answered = traffic.report.answered
      let now = ContinuousClock.now
      let progress = progress(answered, since: lastAnswered, in: (now - lastLook) / .seconds(1))
      output.live(progress)
      if looks % 10 == 0 {
        output.progress(progress)
        (lastAnswered, lastLook) = (answered, now)
      }
    }
  }

  private var elapsed: Double { (ContinuousClock.now - start) / .seconds(1) }

  private func progress(
    _ answered: Int, since last: Int, in seconds: Double
  ) -> DemoOutput.Progress {
    let tally = cycles.current
    return DemoOutput.Progress(
      seconds: (elapsed * 10).rounded() / 10, datagramsAnswered: answered,
      answersPerSecond: Int(Double(answered - last) / max(seconds, 0.001)), cycles: tally.cycles,
      lastUnload: tally.unloadMicroseconds.last ?? 0)
  }

  private func finish() {
    // From here on everything ends by itself; a user that does not want to wait interrupts once
    // more.
    interruption.endProcess { [host] in host.end() }
    let isHostGone = host.ended != nil
    if let ended = host.ended { complain("the host ended \(ended) in the middle of it") }
    // The traffic goes on meanwhile: the last cycle waits for answers. Without any, it goes on when
    // the client ends.
    if !isHostGone { _ = cycles.stop(within: .seconds(5)) }
    let seconds = elapsed
    let report = traffic.finish()
    let isAnswering = isHostGone || cycles.stop(within: .seconds(10))
    if !isAnswering { complain("the host has not answered a request for 10 seconds") }
    if !host.stop(within: isAnswering ? .seconds(20) : .zero) && isAnswering && !isHostGone {
      complain("the host ended \(host.ended ?? "somehow") on SIGTERM")
    }
    // Hung up on by now, whatever it waited for.
    _ = cycles.stop(within: .seconds(5))
    server.stop()
    let tally = cycles.current
    // Without a host, what the requests came to says nothing new.
    if let failure = tally.failure, isAnswering && !isHostGone { complaints.append(failure) }
    let summary = DemoSummary(
      seconds: seconds, traffic: report,
      kernelDrops: report.kernelDrops + server.kernelDrops + tally.kernelDrops, cycles: tally)
    output.summary(summary)
    complaints += summary.complaints
    // Where something else is wrong, that is why.
    if complaints.isEmpty && summary.cycles == 0 {
      complaints.append("no module was loaded, used and unloaded")
    }
  }

  /// With the host's own words, if it had any.
  private func complain(_ line: String) {
    complaints.append(line + (host.lastComplaint.map { ": \($0)" } ?? ""))
  }
}
