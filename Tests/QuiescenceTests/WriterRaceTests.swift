import Quiescence
import TestSupport
import Testing

/// Many writers of one box that use every kind of write, and concurrent readers.
@Suite(.exclusive) struct WriterRaceTests {
  /// Each version has an object of its own. A version that is destroyed twice releases the object
  /// too often; a version that is never destroyed is still counted at the end.
  struct Version: Sendable {
    let count: Int
    let object: Tracked

    init(_ count: Int, _ alive: Counter) {
      self.count = count
      object = Tracked(count, alive: alive)
    }

    /// Both halves must belong to the same version.
    var isWhole: Bool { count == object.value }
  }

  /// Mutants, each found by this test: compareExchange ignores the expected version; update does
  /// not take the lock; updateRetrying publishes over any version; update retires the version that
  /// it has published.
  @Test(arguments: FlavorCase.all)
  func noWriteIsLost(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      let counts = Counts()
      let box = Shared(RCUBox(Version(0, alive), flavor: F.self))
      await onThreads(6) { index in
        if index < 4 {
          var round = index
          // Until writes have overlapped many times.
          while counts.written.value < 12_000 || counts.retried.value + counts.refused.value < 50 {
            Self.write(round % 5, to: box.value, alive, counts)
            counts.written.add(1)
            round += 1
          }
          counts.ended.add(1)
        } else {
          while counts.ended.value < 4 {
            let torn = F.readAnywhere { box.value.lend { Self.lookAtAll($0) } }
            counts.torn.add(torn)
          }
        }
      }
      let left = F.readAnywhere { box.value.read { $0.count } }
      #expect(left + counts.taken.value == counts.written.value)
      #expect(counts.torn.value == 0)
      await F.barrier()
      // The closures of ended threads may hold the box a moment longer, so its last version is
      // counted.
      withExtendedLifetime(box) { #expect(alive.value == 1) }
    }
    await run(flavor.type)
  }

  /// The number of inconsistent versions that were seen, over all ways to read.
  private static func lookAtAll<F: Flavor>(_ box: borrowing RCUBox<Version, F>) -> Int {
    var cached = box.cached()
    let count = box.map(\.count)
    var torn = 0
    for _ in 0..<100 {
      if !box.read({ $0.isWhole }) || !cached.read({ $0.isWhole }) || count.read({ $0 }) < 0 { torn += 1 }
    }
    return torn
  }

  private struct Counts: Sendable {
    let written = Counter(), taken = Counter(), torn = Counter(), ended = Counter()
    let retried = Counter(), refused = Counter()
  }

  /// Adds one, by each kind of write.
  private static func write<F: Flavor>(
    _ kind: Int, to box: borrowing RCUBox<Version, F>, _ alive: Counter, _ counts: Counts
  ) {
    switch kind {
    case 0: box.update { $0 = Version($0.count + 1, alive) }
    case 1:
      var runs = 0
      box.updateRetrying {
        runs += 1
        $0 = Version($0.count + 1, alive)
      }
      counts.retried.add(runs - 1)
    case 2:
      while !compareExchange(box, alive) { counts.refused.add(1) }
    case 3: box.replace { Version($0.count + 1, alive) }
    default:
      // Takes the current value out of the box, and adds it to its own.
      let old = box.exchange(Version(0, alive))
      counts.taken.add(old.read { $0.count } + 1)
    }
  }

  private static func compareExchange<F: Flavor>(_ box: borrowing RCUBox<Version, F>, _ alive: Counter)
    -> Bool
  {
    F.readAnywhere {
      F.read { section in
        let seen = box.load(section)
        return box.compareExchange(seen, with: Version(seen.value.count + 1, alive)).isExchanged
      }
    }
  }

  /// The closure runs without the lock: other writers publish in between, and it runs again.
  ///
  /// Mutant: updateRetrying that publishes over any number.
  @Test func updateRetryingDoesNotBlockOtherWriters() async {
    let box = Shared(RCUBox((long: 0, quick: 0)))
    let runs = Counter()
    let isDone = Counter()
    let quick = Counter()
    await onThreads(2) { index in
      if index == 0 {
        for _ in 0..<200 {
          var isFirst = true
          box.value.updateRetrying { value in
            runs.add(1)
            value.long += 1
            // Waits for the other thread once, which would deadlock under the lock. For two
            // updates, because the first may have been published before this run began, and counted
            // after that.
            let enough = quick.value + 2
            while isFirst, quick.value < enough { Processor.yield() }
            isFirst = false
          }
        }
        isDone.add(1)
      } else {
        while isDone.value == 0 {
          box.value.update { $0.quick += 1 }
          quick.add(1)
          Processor.yield()
        }
      }
    }
    #expect(box.value.read { $0.long } == 200)
    #expect(box.value.read { $0.quick } == quick.value)
    #expect(runs.value >= 400)
  }
}
