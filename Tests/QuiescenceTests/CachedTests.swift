import Quiescence
import TestSupport
import Testing

@Suite struct CachedTests {
  @Test func everyKindOfWriteRenewsTheCache() {
    let seen = RCUBox([1]).lend { box in
      var cached = box.cached()
      var seen = [cached.snapshot()]
      box.update { $0.append(2) }
      seen.append(cached.read { $0 })
      box.exchange([3])
      seen.append(cached.snapshot())
      box.updateRetrying { $0 = [4] }
      seen.append(cached.read { $0 })
      box.replace { $0 + [5] }
      seen.append(cached.read { $0 })
      let isExchanged = Memb.read { section in
        box.compareExchange(box.load(section), with: [6]).isExchanged
      }
      #expect(isExchanged)
      return seen + [cached.read { $0 }]
    }
    #expect(seen == [[1], [1, 2], [3], [4], [4, 5], [6]])
  }

  @Test func cacheHitAllocatesNothingAndOpensNoSection() {
    let made = Counter()
    RCUBox(1).lend { box in
      let source = box.map { value in
        made.add(1)
        return value * 10
      }
      var cached = source.cached()
      var sum = 0
      for _ in 0..<100 { sum += cached.read { $0 } }
      #expect(made.value == 1)
      let isInside = cached.read { _ in Memb.isInside }
      #expect(!isInside)
      box.update { $0 = 2 }
      for _ in 0..<100 { sum += cached.read { $0 } }
      #expect(made.value == 2)
      #expect(sum == 3000)
    }
  }

  /// The address of a version is reused as soon as the version is freed. Its number is not.
  ///
  /// Mutant: a cache that compares addresses.
  @Test func reusedAddressIsNotTakenForTheOldVersion() async {
    let stale = await onThread {
      // An existential is passed by its address, which is the address of the version.
      RCUBox(0 as any Sendable).lend { box in
        var cached = box.cached()
        var stale = 0
        var cameBack = 0
        var round = 0
        // Until later versions have had the address of the cached one many times.
        while cameBack < 100 {
          round += 1
          let before = Self.address(of: box)
          // The first write frees the address that the cache knows; the second may get it.
          _ = box.exchange(-round).take()
          _ = box.exchange(round).take()
          if Self.address(of: box) == before { cameBack += 1 }
          if cached.read({ $0 as? Int }) != round { stale += 1 }
        }
        return stale
      }
    }
    #expect(stale == 0)
  }

  private static func address(of box: borrowing RCUBox<any Sendable, Memb>) -> UInt {
    box.read { withUnsafePointer(to: $0) { UInt(bitPattern: $0) } }
  }

  @Test func copyIsReleasedWithTheCache() async {
    let alive = Counter()
    await onThreads { _ in
      let box = RCUBox(Tracked(1, alive: alive))
      box.lend { box in
        var cached = box.cached()
        box.exchange(Tracked(2, alive: alive))
        Memb.barrier()
        #expect(alive.value == 2, "the cache keeps what it has until it reads again")
        let value = cached.read { $0.value }
        #expect(value == 2)
        #expect(alive.value == 1)
        box.exchange(Tracked(3, alive: alive))
      }
      Memb.barrier()
      #expect(alive.value == 1)
    }
  }

  /// During a publication, before and after the store of the pointer: what a reader of the box has
  /// seen, a cache on the same thread sees too.
  ///
  /// Mutants: no odd number; a cache that keeps what it copied under an odd one.
  @Test func cacheReadDuringAPublicationIsCorrect() {
    let seen = RCUBox(1).lend { box in
      var early = box.cached()
      var late = box.cached()
      var seen: [[Int]] = []
      _ = box.exchange(2) {
        seen.append([box.read { $0 }, early.read { $0 }])
        if seen.count == 2 { seen.append([box.read { $0 }, late.read { $0 }]) }
      }
      return seen + [[box.read { $0 }, early.read { $0 }, late.read { $0 }]]
    }
    #expect(seen == [[1, 1], [2, 2], [2, 2], [2, 2, 2]])
  }

  /// Mutants: the number is stored before the pointer; the copy is made before the number is
  /// loaded.
  @Test(.exclusive, arguments: FlavorCase.all)
  func cacheIsNeverOlderThanTheBox(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> (stale: Int, backwards: Int, untold: Int) {
      let box = Shared(RCUBox(0, flavor: F.self))
      let told = Counter()
      let changes = Counter()
      let stale = Counter()
      let backwards = Counter()
      let untold = Counter()
      // At the first failure too: a cache that is outdated for ever would see no more changes.
      var isOver: Bool { changes.value >= 10_000 || stale.value + backwards.value + untold.value > 0 }
      await onThreads(3) { index in
        if index == 0 {
          while !isOver {
            let new = box.value.update {
              $0 += 1; return $0
            }
            if new % 16 == 0 { told.add(new - told.value) }
          }
          return
        }
        // A cache for a limited time: retired objects wait for the section around it, and their
        // number is limited.
        while !isOver {
          F.readAnywhere {
            box.value.lend { box in
              var cached = box.cached()
              var last = 0
              var seen = 0
              for _ in 0..<2000 {
                let published = told.value
                let direct = box.read { $0 }
                let mine = cached.read { $0 }
                if mine < direct { stale.add(1) }
                if mine < published { untold.add(1) }
                if box.read({ $0 }) < mine { backwards.add(1) }
                if mine != last { seen += 1 }
                last = mine
              }
              changes.add(seen)
            }
          }
        }
      }
      return (stale.value, backwards.value, untold.value)
    }
    let result = await run(flavor.type)
    #expect(result.stale == 0)
    #expect(result.backwards == 0)
    #expect(result.untold == 0)
  }
}
