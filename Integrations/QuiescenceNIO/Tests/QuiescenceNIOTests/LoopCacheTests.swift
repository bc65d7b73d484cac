import NIOCore
import NIOEmbedded
import NIOPosix
import Quiescence
import QuiescenceNIO
import Testing

/// A copy of a box's value for each loop.
@Suite struct LoopCacheTests {
  @Test func everyLoopSeesANewVersion() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 3)
    let box = SharedRCUBox(1), caches = LoopCaches(box, of: group)
    for expected in 1...50 {
      for loop in group.makeIterator() {
        let seen = try await loop.submit { caches[loop].value }.get()
        #expect(seen == expected)
      }
      box.box.publish(expected + 1)
    }
    try await group.shutdownGracefully()
  }

  @Test func boxOfQSBRIsReadOnQuiescentLoops() async throws {
    try await withGroup(2) { group in
      let box = SharedRCUBox(box: RCUBox(1, flavor: QSBR.self)), caches = LoopCaches(box, of: group)
      for expected in 1...50 {
        for loop in group.makeIterator() {
          let seen = try await loop.submit { caches[loop].value }.get()
          #expect(seen == expected)
        }
        box.box.publish(expected + 1)
        await QSBR.synchronize()
      }
    }
  }

  @Test func embeddedLoopReadsOnItsThread() {
    let loop = EmbeddedEventLoop()
    let box = SharedRCUBox(1), cache = LoopCache(box, on: loop)
    #expect(cache.value == 1)
    box.box.publish(2)
    #expect(cache.value == 2)
  }

  @Test func readOffTheLoopTraps() async {
    await #expect(processExitsWith: .failure) {
      let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      print(LoopCache(SharedRCUBox(1), on: group.next()).value)
    }
  }

  @Test func loopOfAnotherGroupTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      let other = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      _ = LoopCaches(SharedRCUBox(1), of: group)[other.next()]
    }
    #expect(trap(result)?.hasPrefix("LoopCaches has no cache for SelectableEventLoop") == true)
  }
}
