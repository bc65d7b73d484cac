import Quiescence
import TestSupport
import Testing

@Suite(.exclusive) struct PolledGracePeriodTests {
  @Test(arguments: FlavorCase.all)
  func notElapsedWhileAnEarlierReaderStays(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let entered = Parker()
      let mayLeave = Parker()
      await onThreads(2) { index in
        if index == 0 {
          F.readAnywhere {
            entered.open()
            mayLeave.wait()
          }
        } else {
          entered.wait()
          let cookies = (0..<100).map { _ in F.startGracePeriod() }
          for _ in 0..<1000 { Processor.yield() }
          #expect(cookies.allSatisfy { !$0.isElapsed })
          mayLeave.open()
          for cookie in cookies { cookie.wait() }
          #expect(cookies.allSatisfy { $0.isElapsed })
        }
      }
    }
    await run(flavor.type)
  }

  @Test(arguments: FlavorCase.all)
  func elapsesByItself(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let cookie = F.startGracePeriod()
      while !cookie.isElapsed { await Task.yield() }
      await cookie.elapsed()
    }
    await run(flavor.type)
  }

  /// Grace periods are handed from thread to thread while cookies are started. A cookie with the
  /// number of one that no thread runs would wait for ever: in each round no thread asks for
  /// another.
  @Test(arguments: FlavorCase.all)
  func elapsesAtEachHandover(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      let round = Counter()
      let arrived = Counter()
      let stuck = Counter()
      await onThreads(4) { index in
        for number in 1...2000 where stuck.value == 0 {
          // All start together.
          if arrived.add(1) == 4 * number { round.add(1) }
          while round.value < number && stuck.value == 0 { Processor.yield() }
          if index != 0 {
            F.synchronize()
          } else {
            let gracePeriod = F.startGracePeriod()
            let deadline = ContinuousClock.now + .seconds(20)
            while !gracePeriod.isElapsed && ContinuousClock.now < deadline { Processor.yield() }
            if !gracePeriod.isElapsed { stuck.add(1) }
          }
        }
      }
      return stuck.value
    }
    #expect(await run(flavor.type) == 0)
  }

  @Test func startedInsideASectionItWaitsForThatSection() async {
    await onThreads { _ in
      let cookie = Memb.read { _ in
        let cookie = Memb.startGracePeriod()
        for _ in 0..<1000 { Processor.yield() }
        #expect(!cookie.isElapsed)
        return cookie
      }
      cookie.wait()
    }
  }

  /// T12: a cookie must never be elapsed inside a section that was open when it was started.
  @Test(arguments: FlavorCase.anywhere)
  func neverElapsedInsideItsOwnSection(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      let early = Counter()
      let waiting = Counter()
      await onThreads(3) { index in
        if index == 0 {
          while waiting.value < 2 { F.synchronize() }
        } else {
          for _ in 0..<2000 {
            F.read { _ in
              let cookie = F.startGracePeriod()
              Processor.yield()
              if cookie.isElapsed { early.add(1) }
            }
          }
          waiting.add(1)
        }
      }
      return early.value
    }
    #expect(await run(flavor.type) == 0)
  }

  /// Behavior 5: callers at the same time share grace periods, and all return.
  @Test func concurrentCallersShare() async {
    await share(AloneMemb.self) { body in AloneMemb.read { _ in body() } }
    await share(AloneMB.self) { body in AloneMB.read { _ in body() } }
    await share(AloneBulletproof.self) { body in AloneBulletproof.read { _ in body() } }
    await share(AloneQSBR.self) { body in QSBR.withOnlineReader { _ in body() } }
  }

  // Grace periods that no other test asks for: other tests run beside this one.
  private enum AloneMemb: Alone {
    typealias Base = Memb
    static let domain = FlavorDomain(of: AloneMemb.self, named: "alone-memb")
  }
  private enum AloneMB: Alone {
    typealias Base = MB
    static let domain = FlavorDomain(of: AloneMB.self, named: "alone-mb")
  }
  private enum AloneBulletproof: Alone {
    typealias Base = Bulletproof
    static let domain = FlavorDomain(of: AloneBulletproof.self, named: "alone-bp")
  }
  private enum AloneQSBR: Alone {
    typealias Base = QSBR
    static let domain = FlavorDomain(of: AloneQSBR.self, named: "alone-qsbr")
  }

  private func share<F: Flavor>(_: F.Type, _ section: @escaping @Sendable (() -> Void) -> Void) async {
    let entered = Parker()
    let mayLeave = Parker()
    let asking = Counter()
    let before = F.statistics.gracePeriods
    await onThreads(12) { index in
      switch index {
      case 0:
        section {
          entered.open()
          mayLeave.wait()
        }
      case 1:
        entered.wait()
        while asking.value < 10 { Processor.yield() }
        for _ in 0..<1000 { Processor.yield() }
        mayLeave.open()
      default:
        entered.wait()
        asking.add(1)
        F.synchronize()
      }
    }
    // One was running when most of them came, and one more was for those; a few may have come late.
    #expect(F.statistics.gracePeriods - before < 10)
    #expect(F.statistics.durations.total == F.statistics.gracePeriods)
  }

  @Test func histogramCountsByPowersOfTwo() {
    #expect(DurationHistogram().quantile(0.5) == .zero)
    #expect(Memb.statistics.durations.counts.count == 63)
  }
}

/// A flavor of this library with grace periods of its own.
private protocol Alone: Flavor {
  associatedtype Base: Flavor
}

extension Alone {
  static func unsafeEnter() -> Base.Token { Base.unsafeEnter() }
  static func unsafeLeave(_ token: Base.Token) { Base.unsafeLeave(token) }
  static var isInside: Bool { Base.isInside }
  static func unsafeSynchronize() { Base.unsafeSynchronize() }
}
