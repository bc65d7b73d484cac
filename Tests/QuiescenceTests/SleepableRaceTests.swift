import Glibc
import SequenceVariants
import Synchronization
import TestSupport
import Testing

@testable import Quiescence

/// Versions that are poisoned after a grace period, while sections come, sleep, move between
/// threads and go.
@Suite(.exclusive) struct SleepableRaceTests {
  /// Memory that is never freed, and says whether it is in use.
  final class Version: Sendable {
    let isAlive = Atomic(true)
  }

  /// Which step is left out.
  enum Variant: Sendable {
    case correct
    /// Entering by a sequence that takes so long that most are interrupted.
    case long
    /// The same, without the barrier that sends them back.
    case withoutBarrier
  }

  @Test(arguments: [Variant.correct, .long])
  func noSectionFindsAVersionThatIsGone(_ variant: Variant) async {
    await Self.readAndReplace(variant, atLeast: 3000)
  }

  /// A sequence that found the cell open counts on it after the sum was taken: the next grace
  /// period but one does not wait for that section. Or its sum counts the section's end without its
  /// beginning, and does not end at all.
  @Test(.enabled(if: ProcessorCell.isRestartable && Affinity.processors.count > 1))
  func tortureCatchesAMissingBarrier() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      // One reader: others in their sections would hold up the grace periods that have to pass
      // while a section that was not counted goes on.
      await Self.readAndReplace(.withoutBarrier, readers: 1, atLeast: 1_000_000)
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(
      line.contains("a section found a version that is gone") || line.contains("a grace period does not end"))
  }

  /// One thread writes and the others read.
  private static func readAndReplace(
    _ variant: Variant, readers: Int = 3, atLeast rounds: Int
  ) async {
    let domain = Shared(SleepableDomain())
    let current = Shared(Atomic(0))
    let versions = (0..<64).map { _ in Version() }
    let isDone = Shared(Atomic(false))
    let reads = Counter()
    versions[1...].forEach { $0.isAlive.store(false, ordering: .relaxed) }
    await onThreads(readers + 1) { index in
      Affinity.keep(index)
      if index == 0 {
        var number = 0
        // Until the readers have met enough of them.
        for round in 0... {
          let next = (number + 1) % versions.count
          versions[next].isAlive.store(true, ordering: .relaxed)
          current.value.store(next, ordering: .releasing)
          if variant == .withoutBarrier {
            domain.value.core.synchronizeWithoutBarrier()
          } else {
            domain.value.synchronize()
          }
          versions[number].isAlive.store(false, ordering: .relaxed)
          number = next
          if round >= rounds && reads.value >= 20_000 { break }
        }
        isDone.value.store(true, ordering: .relaxed)
      } else {
        while !isDone.value.load(ordering: .relaxed) {
          for round in 0..<100 {
            let cell = variant == .correct ? nil : domain.value.core.enterByLongSequence()
            let section = cell == nil ? domain.value.core.enter() : nil
            let version = versions[current.value.load(ordering: .acquiring)]
            // Some stay for several grace periods; where one has to be caught, all do.
            let stay = variant == .withoutBarrier ? 2000 : round % 10 == 0 ? 20_000 : index * 4
            for _ in 0..<stay {
              if !version.isAlive.load(ordering: .relaxed) {
                fatalError("a section found a version that is gone")
              }
            }
            domain.value.core.leave((cell ?? section)!)
          }
          reads.add(100)
        }
      }
    }
    #expect(domain.value.openSections == 0)
  }

  /// As above, with tasks that suspend inside, so that grace periods wait for other sections each
  /// time.
  @Test func noSleepingSectionFindsAVersionThatIsGone() async {
    let domain = Shared(SleepableDomain())
    let current = Shared(Atomic(0))
    let versions = (0..<64).map { _ in Version() }
    versions[1...].forEach { $0.isAlive.store(false, ordering: .relaxed) }
    let isDone = Shared(Atomic(false))
    await withTaskGroup(of: Void.self) { group in
      for index in 0..<8 {
        group.addTask {
          while !isDone.value.load(ordering: .relaxed) {
            await domain.value.read { _ in
              let version = versions[current.value.load(ordering: .acquiring)]
              for _ in 0..<index {
                await Task.yield()
                if !version.isAlive.load(ordering: .relaxed) {
                  fatalError("a section found a version that is gone")
                }
              }
            }
            await Task.yield()
          }
        }
      }
      var number = 0
      for _ in 0..<1000 {
        let next = (number + 1) % versions.count
        versions[next].isAlive.store(true, ordering: .relaxed)
        current.value.store(next, ordering: .releasing)
        await domain.value.synchronize()
        versions[number].isAlive.store(false, ordering: .relaxed)
        number = next
      }
      isDone.value.store(true, ordering: .relaxed)
    }
    #expect(domain.value.openSections == 0)
    #expect(domain.value.statistics.gracePeriods == 1000)
  }

  /// Every wait ends, of every kind, and a cookie is elapsed when its wait has ended.
  @Test func everyWaitEnds() async {
    let domain = Shared(SleepableDomain())
    let isDone = Shared(Atomic(false))
    await withTaskGroup(of: Void.self) { group in
      for index in 0..<4 {
        group.addTask {
          while !isDone.value.load(ordering: .relaxed) {
            await domain.value.read { _ in for _ in 0..<index { await Task.yield() } }
            await Task.yield()
          }
        }
      }
      await withTaskGroup(of: Void.self) { waiters in
        for index in 0..<8 {
          waiters.addTask {
            for _ in 0..<200 {
              let gracePeriod = domain.value.startGracePeriod()
              if index % 2 == 0 {
                await gracePeriod.elapsed()
              } else {
                await domain.value.synchronize()
              }
              if !gracePeriod.isElapsed { fatalError("a wait ended before its grace period") }
            }
          }
        }
      }
      isDone.value.store(true, ordering: .relaxed)
    }
  }

  /// Says which way the process goes; run by the test below in its child.
  @Test func sectionsAreCountedAsTheProcessMay() {
    let isOff = getenv("QUIESCENCE_NO_RSEQ").map { String(cString: $0) } == "1"
    if isOff { #expect(!ProcessorCell.isRestartable) }
  }

  @Test func allTestsPassWithoutSequences() async {
    let run = await TestProcess.run(
      ["QUIESCENCE_NO_RSEQ": "1"], "--filter", "Sleepable", "--skip", "allTestsPassWithoutSequences")
    #expect(run.status == 0, "\(run.output)")
    // The check of the check: the tests were found.
    #expect(run.output.contains("sectionsAreCountedAsTheProcessMay() passed"), "\(run.output)")
    #expect(run.output.contains("noSleepingSectionFindsAVersionThatIsGone() passed"), "\(run.output)")
  }
}

extension SleepableCore {
  /// What a section does, step by step, for those that enter in another way.
  fileprivate func enter() -> ProcessorCell {
    let cell = ProcessorCell(front.pointee.load(ordering: .relaxed))
    return cell.add(1) ? cell : Self.enterSlowly(.passUnretained(self))
  }

  fileprivate func enterByLongSequence() -> ProcessorCell? {
    let cell = ProcessorCell(front.pointee.load(ordering: .relaxed))
    return add_by_long_sequence(cell.pointer, 1) ? cell : nil
  }

  fileprivate func leave(_ cell: ProcessorCell) {
    if !cell.add(-1) { Self.leaveSlowly(.passUnretained(self), cell) }
  }

  /// A mutant.
  fileprivate func synchronizeWithoutBarrier() {
    startNext()
    addUp(flip().old)
    let limit = ContinuousClock.now + .seconds(5)
    while startOfGracePeriod != 0 {
      sched_yield()
      if ContinuousClock.now > limit { fatalError("a grace period does not end") }
    }
  }
}
