import Dispatch
import NIOCore
import NIOPosix
import Quiescence
import Testing

@testable import QuiescenceNIO

/// Reads under `QSBR` on event loops, and grace periods that do not wait for loops that are idle.
@Suite(.serialized, .timeLimit(.minutes(1))) struct QuiescentGroupTests {
  @Test func firstTaskOfALoopMayRead() async throws {
    let box = SharedRCUBox(box: RCUBox(7, flavor: QSBR.self))
    for _ in 0..<20 {
      try await withGroup(2) { group in
        for loop in group.makeIterator() {
          let read = try await loop.submit {
            box.readOnLoop { $0 } + QSBR.readOnLoop { box.box.load($0).value }
          }
          .get()
          #expect(read == 14)
        }
      }
    }
  }

  @Test func threadIsOnlineFromItsFirstReadToTheEndOfTheTick() async throws {
    try await withGroup(1) { group in
      let box = SharedRCUBox(box: RCUBox(7, flavor: QSBR.self)), loop = group.next()
      for _ in 0..<100 {
        let seen = try await loop.submit {
          [box.readOnLoop { _ in QSBR.isInside }, QSBR.isInside]
        }.get()
        #expect(seen == [true, true])
      }
      // It ends, since the loop is idle and offline.
      let hasEnded = try await elapses(QSBR.startGracePeriod())
      #expect(hasEnded)
    }
  }

  /// Mutant: a quiescent state in place of going offline. Then the grace periods take as long as
  /// the loops are idle, and the loops wait for them.
  @Test func idleLoopsDelayNoGracePeriod() async throws {
    try await withGroup(3) { group in
      let box = SharedRCUBox(box: RCUBox(0, flavor: QSBR.self))
      for loop in group.makeIterator() {
        _ = try await loop.submit { box.readOnLoop { $0 } }.get()
      }
      for index in 1...100 {
        box.box.publish(index)
        let hasEnded = try await elapses(QSBR.startGracePeriod())
        #expect(hasEnded)
      }
    }
  }

  /// A busy loop has one tick after the other, each with reads.
  @Test func busyLoopDelaysNoGracePeriod() async throws {
    try await withGroup(2) { group in
      let box = SharedRCUBox(box: RCUBox(0, flavor: QSBR.self))
      let loop = group.next(), reads = Count(), isOver = Count()
      @Sendable func round() {
        if isOver.value > 0 { return }
        for _ in 0..<100 { box.readOnLoop { _ in } }
        reads.add(100)
        // Not due within this tick: a tick ends when no task is ready, and one that is due at once
        // would make it last for ever.
        loop.scheduleTask(in: .microseconds(100)) { round() }
      }
      loop.execute { round() }
      while reads.value == 0 { await Task.yield() }
      for index in 1...100 {
        box.box.publish(index)
        let hasEnded = try await elapses(QSBR.startGracePeriod())
        #expect(hasEnded)
      }
      isOver.add()
      #expect(reads.value > 0)
    }
  }

  @Test func blockedLoopIsNamedWithItsThread() async throws {
    try await withGroup(2) { group in
      let box = SharedRCUBox(box: RCUBox(0, flavor: QSBR.self))
      let loop = group.next(), mayGo = DispatchSemaphore(value: 0)
      let name = "\(loop)"
      let blocked = loop.submit { () -> Int32 in
        box.readOnLoop { _ in }
        mayGo.wait()
        return currentThread()
      }
      let (reports, continuation) = AsyncStream<StallReport>.makeStream()
      StallReports.setHandler { continuation.yield($0) }
      let gracePeriod = loop.gracePeriod(of: QSBR.self)
      var seen: StallReport?
      for await report in reports where report.readers.contains(where: { $0.eventLoop == name }) {
        seen = report
        break
      }
      StallReports.setHandler(nil)
      mayGo.signal()
      let thread = try await blocked.get()
      try await gracePeriod.get()
      let report = try #require(seen)
      let reader = try #require(report.readers.first { $0.eventLoop == name })
      #expect(reader.id == thread && report.flavor == "QSBR")
      #expect(report.descriptionWithEventLoops.hasSuffix("\(reader) is the thread of \(name)"))
      #expect(name.contains(reader.name), "\(name), \(reader.name)")
    }
  }

  @Test func delegateOfTheUserIsCalledAndMayRead() async throws {
    let ticks = Ticks()
    try await withGroup(1, ticks) { group in
      _ = try await group.next().submit {}.get()
      _ = try await group.next().submit {}.get()
      // The delegate has read, and the loop is idle.
      let hasEnded = try await elapses(QSBR.startGracePeriod())
      #expect(hasEnded)
      #expect(ticks.reads.value > 0)
    }
  }

  @Test func loopsOfEndedGroupsAreForgotten() async throws {
    let id = Count()
    try await withGroup(1) { group in
      let thread = try await group.next().submit { currentThread() }.get()
      #expect(LoopThread.loop(ofThread: thread) != nil)
      id.add(Int(thread))
    }
    // The group waits for its threads, and the kernel may have given the id to a new one.
    let name = LoopThread.loop(ofThread: Int32(id.value))
    #expect(name == nil)
  }

  @Test func readOffTheLoopTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      RCUBox(1, flavor: QSBR.self).readOnLoop { print($0) }
    }
    #expect(trap(result) == Self.line)
  }

  @Test func readOnALoopOfAnotherGroupTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      let box = SharedRCUBox(box: RCUBox(1, flavor: QSBR.self))
      _ = try await group.next().submit { box.readOnLoop { $0 } }.get()
    }
    #expect(trap(result) == Self.line)
  }

  static let line =
    "readOnLoop on a thread that is no event loop of MultiThreadedEventLoopGroup.quiescent: no code takes it offline, "
    + "so grace periods would wait for it; use such a group, or a box of Memb, which any thread reads"
}

/// Counts ticks, and reads in each.
final class Ticks: NIOEventLoopMetricsDelegate {
  let count = Count(), reads = Count()
  private let box = SharedRCUBox(box: RCUBox(1, flavor: QSBR.self))

  func processedTick(info: NIOEventLoopTickInfo) {
    count.add()
    reads.add(box.readOnLoop { $0 })
  }
}
