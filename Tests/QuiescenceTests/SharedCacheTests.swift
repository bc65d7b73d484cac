import Quiescence
import TestSupport
import Testing

/// Caches in fields of classes.
@Suite struct SharedCacheTests {
  final class Handler {
    var limit: SharedRCUBox<Int, Memb>.Cache

    init(_ limit: SharedRCUBox<Int, Memb>) { self.limit = limit.cache() }
  }

  @Test func everyKindOfWriteRenewsTheCache() {
    let shared = SharedRCUBox(1)
    let handler = Handler(shared)
    var seen = [handler.limit.snapshot()]
    shared.box.update { $0 = 2 }
    seen.append(handler.limit.read { $0 })
    shared.box.publish(3)
    seen.append(handler.limit.read { $0 })
    shared.box.updateRetrying { $0 = 4 }
    seen.append(handler.limit.snapshot())
    #expect(seen == [1, 2, 3, 4])
  }

  @Test func cacheHitOpensNoSection() {
    let handler = Handler(SharedRCUBox(1))
    let isInside = handler.limit.read { _ in Memb.isInside }
    #expect(!isInside)
  }

  @Test func cacheKeepsItsBoxAlive() async {
    let alive = Counter()
    await onThread {
      var cache = SharedRCUBox(Tracked(1, alive: alive)).cache()
      Memb.barrier()
      let value = cache.read { $0.value }
      #expect(value == 1 && alive.value == 1)
    }
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  @Test func cacheReadDuringAPublicationIsCorrect() {
    let shared = SharedRCUBox(1)
    var cache = shared.cache()
    var seen: [[Int]] = []
    _ = shared.box.exchange(2) { seen.append([shared.read { $0 }, cache.read { $0 }]) }
    seen.append([shared.read { $0 }, cache.read { $0 }])
    #expect(seen.allSatisfy { $0[0] == $0[1] } && seen.last == [2, 2], "\(seen)")
  }

  /// Mutants: the number is loaded after the copy; an odd number is kept as it is.
  @Test(.exclusive, arguments: FlavorCase.all)
  func cacheIsNeverOlderThanTheBox(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> (stale: Int, backwards: Int) {
      let shared = SharedRCUBox(box: RCUBox(0, flavor: F.self))
      let changes = Counter(), stale = Counter(), backwards = Counter()
      var isOver: Bool { changes.value >= 10_000 || stale.value + backwards.value > 0 }
      await onThreads(3) { index in
        if index == 0 {
          while !isOver { shared.box.update { $0 += 1 } }
          return
        }
        while !isOver {
          F.readAnywhere {
            var cache = shared.cache()
            var last = 0, seen = 0
            for _ in 0..<2000 {
              let direct = shared.read { $0 }
              let mine = cache.read { $0 }
              if mine < direct { stale.add(1) }
              if shared.read({ $0 }) < mine { backwards.add(1) }
              if mine != last { seen += 1 }
              last = mine
            }
            changes.add(seen)
          }
        }
      }
      return (stale.value, backwards.value)
    }
    let result = await run(flavor.type)
    #expect(result.stale == 0)
    #expect(result.backwards == 0)
  }
}
