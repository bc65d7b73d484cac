import Quiescence
import TestSupport
import Testing

@Suite struct QSBRTests {
  @Test func onlineThreadReadsAndSynchronizes() async {
    let sum = await onThread {
      let box = RCUBox(20, flavor: QSBR.self)
      return QSBR.withOnlineReader { reader in
        var sum = 0
        do { sum += box.load(reader).value }
        reader.quiescentState()
        sum += box.read { $0 }
        reader.offline { sum += 1 }
        reader.synchronize()
        return sum + QSBR.read { section in box.load(section).value }
      }
    }
    #expect(sum == 61)
  }

  @Test func threadMayGoOnlineRepeatedly() async {
    let isOnline = await onThread {
      for _ in 0..<3 { QSBR.withOnlineReader { reader in reader.quiescentState() } }
      return QSBR.isInside
    }
    #expect(!isOnline)
  }

  @Test func offlineReaderDelaysNoGracePeriod() async {
    let isOffline = Parker()
    let mayReturn = Parker()
    await onThreads(2) { index in
      if index == 0 {
        QSBR.withOnlineReader { reader in
          reader.offline {
            isOffline.open()
            mayReturn.wait()
          }
        }
      } else {
        isOffline.wait()
        QSBR.synchronize()
        mayReturn.open()
      }
    }
  }

  @Test func errorsLeaveTheReaderOffline() async {
    struct Refused: Error {}
    let isOnline = await onThread {
      try? QSBR.withOnlineReader { reader throws(Refused) in
        try reader.offline { () throws(Refused) in throw Refused() }
      }
      return QSBR.isInside
    }
    #expect(!isOnline)
  }
}
