import Glibc
import Quiescence
import TestSupport
import Testing

/// Threads that go online without a scope.
@Suite struct QSBREventLoopTests {
  @Test func onlineThreadDelaysGracePeriodsUntilItsQuiescentState() async {
    let isOnline = Parker(), maySayIt = Parker(), mayEnd = Parker()
    let box = Shared(RCUBox(1, flavor: QSBR.self))
    let isElapsed = Shared(Locked(false))
    await onThreads(2) { index in
      if index == 0 {
        QSBR.unsafeGoOnline()
        QSBR.unsafeGoOnline()
        #expect(box.value.read { $0 } == 1 && QSBR.isInside)
        isOnline.open()
        maySayIt.wait()
        #expect(!isElapsed.value.withLock { $0 })
        // More than one: an earlier grace period may have been in progress.
        while !mayEnd.isOpen {
          QSBR.unsafeQuiescentState()
          sched_yield()
        }
        // Still online, and reading.
        #expect(box.value.read { $0 } == 1 && QSBR.isInside)
        QSBR.unsafeGoOffline()
        QSBR.unsafeGoOffline()
        #expect(!QSBR.isInside)
      } else {
        isOnline.wait()
        let gracePeriod = QSBR.startGracePeriod()
        for _ in 0..<1000 { if gracePeriod.isElapsed { isElapsed.value.withLock { $0 = true } } }
        maySayIt.open()
        while !gracePeriod.isElapsed { sched_yield() }
        mayEnd.open()
      }
    }
  }

  @Test func offlineThreadDelaysNoGracePeriod() async {
    let isOffline = Parker(), mayEnd = Parker()
    await onThreads(2) { index in
      if index == 0 {
        QSBR.unsafeGoOnline()
        QSBR.unsafeGoOffline()
        QSBR.unsafeQuiescentState()
        #expect(!QSBR.isInside)
        isOffline.open()
        mayEnd.wait()
      } else {
        isOffline.wait()
        QSBR.synchronize()
        mayEnd.open()
      }
    }
  }

  @Test func threadMayEndOnline() async {
    await onThreads(4) { _ in
      QSBR.unsafeGoOnline()
      QSBR.unsafeQuiescentState()
    }
    await onThread { QSBR.synchronize() }
  }

  @Test func scopeAfterGoingOfflineWorks() async {
    let sum = await onThread {
      let box = RCUBox(20, flavor: QSBR.self)
      QSBR.unsafeGoOnline()
      var sum = box.read { $0 }
      QSBR.unsafeGoOffline()
      sum += QSBR.withOnlineReader { reader in box.load(reader).value }
      QSBR.unsafeGoOnline()
      sum += box.read { $0 }
      QSBR.unsafeGoOffline()
      return sum
    }
    #expect(sum == 60)
  }

  @Test func goingOfflineInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        QSBR.unsafeGoOnline()
        QSBR.read { _ in QSBR.unsafeGoOffline() }
      }
    }
    #expect(
      result.trap
        == "QSBR.unsafeGoOffline() inside QSBR.read or QSBR.withOnlineReader: what the thread borrowed there would be freed"
    )
  }

  @Test func quiescentStateInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        QSBR.unsafeGoOnline()
        QSBR.read { _ in QSBR.unsafeQuiescentState() }
      }
    }
    #expect(
      result.trap
        == "QSBR.unsafeQuiescentState() inside QSBR.read or QSBR.withOnlineReader: what the thread borrowed there would be freed"
    )
  }

  @Test func goingOnlineInsideAScopeTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.unsafeGoOnline() } }
    }
    #expect(
      result.trap
        == "QSBR.unsafeGoOnline() inside QSBR.read or QSBR.withOnlineReader: what the thread borrowed there would be freed"
    )
  }
}
