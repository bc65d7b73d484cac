import Quiescence
import TestSupport
import Testing

/// Many writers of one box with every kind of write, and readers beside them.
@Suite(.exclusive) struct WriterRaceTests {
  /// Each version has an object of its own: destroying one twice releases it once too often, and one that is
  /// never destroyed is still counted at the end.
  struct Version: Sendable {
    let count: Int
    let object: Tracked

    init(_ count: Int, _ alive: Counter) {
      self.count = count
      object = Tracked(count, alive: alive)
    }

    /// Both halves are of the same version.
    var isWhole: Bool { count == object.value }
  }

  /// Mutants, each found by this test: compareExchange that ignores what was expected; update without the
  /// lock; updateRetrying that publishes over any number; update that retires the version it published.
  @Test(arguments: FlavorCase.all)
  func noWriteIsLost(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      let rounds = 3000
      let written = Counter()
      let taken = Counter()
      let torn = Counter()
      let runs = Counter()
      let box = Shared(RCUBox(Version(0, alive), flavor: F.self))
      let writers = Counter(4)
      await onThreads(6) { index in
        if index < 4 {
          for round in 0..<rounds {
            switch (index + round) % 5 {
            case 0: box.value.update { $0 = Version($0.count + 1, alive) }
            case 1:
              box.value.updateRetrying {
                runs.add(1)
                $0 = Version($0.count + 1, alive)
              }
            case 2: Self.add(to: box.value, alive)
            case 3: box.value.replace { Version($0.count + 1, alive) }
            default:
              // Takes everything that was counted so far out of the box, and adds its own one to that.
              let old = box.value.exchange(Version(0, alive))
              taken.add(old.read { $0.count } + 1)
            }
            written.add(1)
          }
          writers.add(-1)
        } else {
          while writers.value > 0 {
            let bad = F.readAnywhere { box.value.lend { Self.lookAtAll($0) } }
            torn.add(bad)
          }
        }
      }
      let left = F.readAnywhere { box.value.read { $0.count } }
      #expect(written.value == 4 * rounds)
      #expect(left + taken.value == written.value)
      #expect(torn.value == 0)
      await F.barrier()
      // The threads' closures may hold the box a moment longer; so its last version is counted.
      withExtendedLifetime(box) { #expect(alive.value == 1) }
    }
    await run(flavor.type)
  }

  /// How many versions were not whole, read in every way.
  private static func lookAtAll<F: Flavor>(_ box: borrowing RCUBox<Version, F>) -> Int {
    var cached = box.cached()
    let count = box.map(\.count)
    var torn = 0
    for _ in 0..<100 {
      if !box.read({ $0.isWhole }) || !cached.read({ $0.isWhole }) || count.read({ $0 }) < 0 { torn += 1 }
    }
    return torn
  }

  /// One more by a loop of compare and exchange.
  private static func add<F: Flavor>(to box: borrowing RCUBox<Version, F>, _ alive: Counter) {
    var isDone = false
    while !isDone {
      isDone = F.readAnywhere {
        F.read { section in
          let seen = box.load(section)
          return box.compareExchange(seen, with: Version(seen.value.count + 1, alive)).isExchanged
        }
      }
    }
  }

  /// The closure runs without the lock: others get through meanwhile, and it runs again.
  @Test func updateRetryingLetsOthersThrough() async {
    let box = Shared(RCUBox((long: 0, quick: 0)))
    let runs = Counter()
    let retries = Counter()
    let done = Counter()
    let quick = Counter()
    await onThreads(2) { index in
      if index == 0 {
        // Until a quick update got in between, many times.
        while retries.value < 200 {
          var runsOfThis = 0
          box.value.updateRetrying { value in
            runsOfThis += 1
            runs.add(1)
            value.long += 1
            // Waits for the other thread once; a closure under the lock would wait for ever.
            let before = quick.value
            while runsOfThis == 1, quick.value == before { Processor.yield() }
          }
          done.add(1)
          retries.add(runsOfThis - 1)
        }
        retries.add(1_000_000)
      } else {
        while retries.value < 1_000_000 {
          box.value.update { $0.quick += 1 }
          quick.add(1)
        }
      }
    }
    #expect(box.value.read { $0.long } == done.value)
    #expect(box.value.read { $0.quick } == quick.value)
    #expect(runs.value > done.value)
  }
}
