import Glibc
import Quiescence
import Synchronization
import TestSupport
import Testing

/// Behaviors that liburcu's tests and documentation promise, and that no other suite tests: see
/// BEHAVIORS.md.
@Suite(.exclusive) struct ContractTests {
  /// Leaving inner sections ends no grace period; leaving the outermost section does.
  @Test(arguments: FlavorCase.anywhere)
  func gracePeriodWaitsForTheOutermostSectionOnly(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> (early: Bool, late: Bool) {
      await onThread {
        var early = false
        var gracePeriod: GracePeriod<F>?
        var tokens = (0..<8).map { _ in F.unsafeEnter() }
        gracePeriod = F.startGracePeriod()
        for _ in 0..<7 {
          F.unsafeLeave(tokens.removeLast())
          for _ in 0..<100 { Processor.yield() }
          early = early || gracePeriod!.isElapsed
        }
        F.unsafeLeave(tokens.removeLast())
        gracePeriod!.wait()
        return (early, gracePeriod!.isElapsed)
      }
    }
    #expect(await run(flavor.type) == (false, true))
  }

  /// By then the writer has stopped spinning and sleeps on a futex: the leaving reader must wake
  /// it.
  @Test(arguments: FlavorCase.all)
  func longSectionWakesTheSleepingGracePeriod(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      for _ in 0..<5 {
        await onThreads(2) { index in
          if index == 0 {
            F.readAnywhere { _ = usleep(20_000) }
          } else {
            usleep(1000)
            F.synchronize()
          }
        }
      }
    }
    await run(flavor.type)
  }

  @Test(arguments: FlavorCase.all)
  func manyCookiesAreMonotonic(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      await onThread {
        var cookies: [GracePeriod<F>] = []
        var wrong = 0
        for _ in 0..<2000 {
          cookies.append(F.startGracePeriod())
          // Tested from the latest to the earliest: if one has elapsed, the earlier ones have too.
          let elapsed = cookies.reversed().map(\.isElapsed)
          if let first = elapsed.firstIndex(of: true), elapsed[first...].contains(false) { wrong += 1 }
          if cookies.count > 64 { cookies.removeFirst(32) }
        }
        for cookie in cookies { cookie.wait() }
        return wrong + cookies.filter { !$0.isElapsed }.count
      }
    }
    #expect(await run(flavor.type) == 0)
  }

  /// More than liburcu's ring of 4,096 entries, odd addresses, and another function each time.
  @Test func retireTakesFunctionsAndOddPointers() async {
    let reclaimer = RCUReclaimer(named: "functions", Memb.self, limit: RetireLimit(4096, .synchronizeInline))
    await onThread {
      for number in 0..<20_000 {
        let argument = UnsafeMutableRawPointer(bitPattern: 2 * number + 1)
        if number % 2 == 0 {
          reclaimer.unsafeRetire(argument) { Sums.even.add(Int(bitPattern: $0), ordering: .relaxed) }
        } else {
          reclaimer.unsafeRetire(argument) { Sums.odd.add(Int(bitPattern: $0), ordering: .relaxed) }
        }
      }
      reclaimer.unsafeRetire(nil) { if $0 == nil { Sums.odd.add(1, ordering: .relaxed) } }
    }
    await reclaimer.barrier()
    #expect(Sums.even.load(ordering: .relaxed) == (0..<10_000).reduce(0) { $0 + 4 * $1 + 1 })
    #expect(Sums.odd.load(ordering: .relaxed) == (0..<10_000).reduce(1) { $0 + 4 * $1 + 3 })
  }

  private enum Sums {
    static let even = Atomic<Int>(0)
    static let odd = Atomic<Int>(0)
  }

  @Test func processMayEndWithPendingCallbacks() async {
    await #expect(processExitsWith: .success) {
      let own = RCUReclaimer(named: "own", Memb.self)
      await onThreads(3) { _ in
        for number in 0..<5000 {
          for flavor in [Memb.self, MB.self, Bulletproof.self, QSBR.self] as [any Flavor.Type] {
            flavor.retire { _ = [number] }
          }
          own.retire { _ = [number] }
        }
      }
      exit(0)
    }
  }

  /// A thousand short-lived threads, while grace periods follow each other.
  @Test(arguments: FlavorCase.all)
  func threadsEndAtEveryPoint(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      let ended = Counter()
      await onThreads(2) { index in
        if index == 1 {
          while ended.value < 1000 { F.synchronize() }
          return
        }
        for number in 0..<1000 {
          let gone = Parker()
          _ = ServiceThread.start(named: "short") {
            if number % 2 == 0 { F.readAnywhere { Processor.yield() } }
            if number % 3 == 0 { F.retire {} }
            if number % 5 == 0 { F.synchronize() }
            if number % 7 == 0 { F.readAnywhere {} }
            gone.open()
          }
          // A few at a time.
          if number % 4 == 0 { gone.wait() }
          ended.add(1)
        }
      }
      await F.synchronize()
      await F.barrier()
      return ended.value
    }
    #expect(await run(flavor.type) == 1000)
  }
}
