import Quiescence
import TestSupport
import Testing

@testable import Bigref

@Suite struct HolderTests {
  @Test func holdersAreListedByLabel() async {
    let count = Bigref(recordingHolders: true)
    #expect(count.holders == [])
    count.acquire(for: "reader")
    #expect(count.tryAcquire(for: "writer") == true)
    #expect(count.tryAcquireLive(for: "reader") == true)
    count.acquire()
    let all = [
      Bigref.Holder(label: "reader", count: 2), Bigref.Holder(label: "unlabeled", count: 1),
      Bigref.Holder(label: "writer", count: 1),
    ]
    #expect(count.holders == all)
    #expect(count.approximateCount == 4)
    await count.kill()
    // The labels account for all references that prevent zero.
    #expect(count.holders == all)
    #expect(count.tryAcquireLive(for: "late") == false)
    count.release()
    count.release(for: "reader")
    count.release(for: "writer")
    #expect(count.holders == [Bigref.Holder(label: "reader", count: 1)])
    #expect(count.isZero == false)
    count.release(for: "reader")
    #expect(count.holders == [])
    #expect(count.isZero == true)
    count.resurrect()
    count.acquire(for: "again")
    #expect(count.holders == [Bigref.Holder(label: "again", count: 1)])
    count.release(for: "again")
  }

  @Test func labelsAreRecordedFromManyThreads() async {
    let count = Shared(Bigref(recordingHolders: true))
    await onThreads(4) { index in
      for _ in 0..<1000 {
        count.value.acquire(for: "worker \(index)")
        if !count.value.tryAcquireLive(for: "shared") { fatalError("live") }
        count.value.release(for: "shared")
      }
    }
    #expect(count.value.holders == (0..<4).map { Bigref.Holder(label: "worker \($0)", count: 1000) })
    await count.value.kill()
    #expect(count.value.approximateCount == 4000)
  }

  /// Nothing is recorded, and while the counter is live no label is evaluated.
  @Test func counterWithoutRecordingIgnoresLabels() async {
    let count = Bigref()
    let made = Counter()
    func label() -> String { made.add(1); return "a" }
    count.acquire(for: label())
    #expect(count.tryAcquire(for: label()) == true)
    #expect(count.holders == [])
    if ProcessorCell.isRestartable { #expect(made.value == 0) }
    await count.kill()
    count.release(for: label())
    count.release(for: "another")
    #expect(count.isZero == true)
  }
}
