import Quiescence
import TestSupport
import Testing
import _QuiescenceShims

/// How a grace period that sleeps is woken, and what the readers do for it meanwhile: see `wake.h`
/// in the shims.
///
/// Out of line all of this is liburcu's own.
#if !QUIESCENCE_OUT_OF_LINE
  @Suite(.exclusive) struct WakeTests {
    /// The flavors whose grace periods sleep on a futex. Those of `Bulletproof` sleep for 10 ms.
    static let sleeping = [
      FlavorCase(type: Memb.self), FlavorCase(type: MB.self), FlavorCase(type: QSBR.self),
    ]

    /// A wake-up that is skipped although the grace period needs it is a grace period without an
    /// end.
    @Test(arguments: sleeping)
    func sectionsOfTheOldPhaseAlwaysWake(_ flavor: FlavorCase) async {
      func run<F: Flavor>(_: F.Type) async {
        let wakes = Counter()
        let readers = 4
        await onThreads(readers + 1) { index in
          if index == readers {
            while wakes.value < 2000 { F.synchronize() }
          } else {
            while wakes.value < 2000 {
              let before = qs_thread_wakes()
              // Gives the processor up inside, so that the grace period's first 100 looks find the
              // section open.
              F.readAnywhere { for _ in 0..<4 { Processor.yield() } }
              wakes.add(Int(qs_thread_wakes() - before))
            }
          }
        }
        #expect(wakes.value >= 2000)
        // No mark is left in the futex word, which would make each leave take the cold way.
        await onThreads { _ in
          for _ in 0..<1000 { F.readAnywhere {} }
          #expect(qs_thread_yielded() == 0)
        }
      }
      await run(flavor.type)
    }

    /// In liburcu each of these leaves wakes the grace period, which sleeps again.
    @Test(arguments: sleeping)
    func laterSectionsDoNotWakeBesideAStalledReader(_ flavor: FlavorCase) async {
      await beside(stalledReaderOf: flavor.type) { read in
        // The first leave may end a section of the old phase.
        while qs_thread_yielded() == 0 { read() }
        let wakes = qs_thread_wakes()
        for _ in 0..<100_000 { read() }
        // One section of this thread may have begun before the grace period changed the phase.
        #expect(qs_thread_wakes() <= wakes + 1)
      }
    }

    /// Without a limit a stalled reader would make all others yield at each leave.
    @Test(arguments: sleeping)
    func yieldsBesideAStalledReaderEndAtTheLimit(_ flavor: FlavorCase) async {
      await beside(stalledReaderOf: flavor.type) { read in
        let limit = UInt64(qs_yield_limit())
        while qs_thread_yielded() < limit { read() }
        let yielded = qs_thread_yielded()
        for _ in 0..<100_000 { read() }
        #expect(qs_thread_yielded() == yielded)
      }
    }

    /// A thread that has used its yields up in one grace period yields again in the next, whatever
    /// the phase.
    @Test(arguments: sleeping)
    func eachGracePeriodHasYieldsOfItsOwn(_ flavor: FlavorCase) async {
      let limit = UInt64(qs_yield_limit())
      func run<F: Flavor>(_: F.Type) async {
        let rounds = 3
        let reading = (0..<rounds).map { _ in Parker() }
        let used = (0..<rounds).map { _ in Parker() }
        let ended = (0..<rounds).map { _ in Parker() }
        await onThreads(3) { index in
          for round in 0..<rounds {
            switch index {
            case 0:
              F.readAnywhere {
                reading[round].open()
                used[round].wait()
              }
            case 1:
              reading[round].wait()
              F.synchronize()
              ended[round].open()
            default:
              reading[round].wait()
              let before = qs_thread_yielded()
              while qs_thread_yielded() < before + limit { F.readAnywhere {} }
              used[round].open()
            }
            ended[round].wait()
          }
        }
      }
      await run(flavor.type)
    }

    /// Runs `body` on a thread while a reader of the flavor stays in its section and a grace period
    /// waits for it. `body` gets a function that reads, from one quiescent state to the next.
    private func beside<F: Flavor>(
      stalledReaderOf _: F.Type, _ body: @escaping @Sendable (_ read: () -> Void) -> Void
    ) async {
      let stalled = Parker()
      let done = Parker()
      await onThreads(3) { index in
        switch index {
        case 0:
          F.readAnywhere {
            stalled.open()
            done.wait()
          }
        case 1:
          stalled.wait()
          F.synchronize()
        default:
          stalled.wait()
          if F.self == QSBR.self {
            QSBR.withOnlineReader { reader in body { reader.quiescentState() } }
          } else {
            body { F.read { _ in } }
          }
          done.open()
        }
      }
    }
  }
#endif
