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
  private let stamps: DemoStamps?
  private let start = ContinuousClock.now
  private var complaints: [String] = []

  /// The client asks as fast as it gets answers, and would take the processors from the relay and
  /// the modules that it is there to test.
  private static let niceness: Int32 = 5

  /// The sample modules, in turn.
  private static let modules = ["counter", "conntrack"]

  /// Starts the host and the server. Blocks.
  ///
  /// - Parameter isReplacing: Versions of one module replace each other, and mark each datagram.
  init(
    seconds: Double, workers: Int, moduleDirectory: String, isReplacing: Bool = false, output: DemoOutput,
    interruption: Interruption
  ) throws {
    self.seconds = seconds
    self.output = output
    self.interruption = interruption
    server = try EchoServer()
    host = try DemoHost(
      forward: server.address, workers: workers, moduleDirectory: moduleDirectory)
    // Before the first datagram is sent: each meets a version.
    stamps = isReplacing ? try DemoStamps(control: host.controlPath) : nil
    traffic = try TrafficClient(target: host.address, marks: isReplacing ? DemoStamps.marks : 0)
    cycles = DemoCycles(
      isReplacing ? .replacements(of: DemoStamps.module) : .loads(Self.modules), control: host.controlPath,
      traffic: traffic)
    try server.start(niceness: Self.niceness)
    try traffic.start(niceness: Self.niceness)
    output.started(
      DemoOutput.Started(
        seconds: seconds, workers: workers, modules: isReplacing ? [DemoStamps.module] : Self.modules,
        isReplacing: isReplacing, listening: "\(host.address)",
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
    let seen = isAnswering && !isHostGone ? total() : nil
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
      kernelDrops: report.kernelDrops + server.kernelDrops + tally.kernelDrops, cycles: tally,
      isReplacing: stamps != nil, seen: seen)
    output.summary(summary)
    complaints += summary.complaints
    // Where something else is wrong, that is why.
    if complaints.isEmpty && summary.cycles == 0 {
      complaints.append(
        stamps == nil ? "no module was loaded, used and unloaded" : "no version replaced another and was used"
      )
    }
  }

  /// What the versions have counted together.
  private func total() -> Int? {
    do throws(ControlError) { return try stamps?.total() } catch {
      complain("the versions' total cannot be read: \(error)")
      return nil
    }
  }

  /// With the host's own words, if it had any.
  private func complain(_ line: String) {
    complaints.append(line + (host.lastComplaint.map { ": \($0)" } ?? ""))
  }
}
