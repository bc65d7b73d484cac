import Foundation
import ProcessEdges
import Quiescence
import TestSupport
import Testing

/// Seccomp filters that forbid `membarrier(2)`, each in a process of its own.
@Suite(.exclusive) struct SandboxTests {
  private static func useEverything<F: Flavor>(_: F.Type) {
    let box = RCUBox(1, flavor: F.self)
    let ran = Counter()
    let own = RCUReclaimer(named: "own", F.self)
    for round in 0..<50 {
      F.readAnywhere {}
      if F.self != QSBR.self { precondition(box.snapshot() == 1 + round) }
      F.synchronize()
      F.startGracePeriod().wait()
      box.update { $0 = 2 + round }
      // The reclaimers' threads are about to sleep, are asleep, and are at work.
      if round % 2 == 0 { usleep(200) }
      F.retire { ran.add(1) }
      own.retire { ran.add(1) }
      if round % 3 == 0 {
        F.barrier()
        own.barrier()
      }
    }
    F.barrier()
    own.barrier()
    precondition(ran.value == 100)
    precondition(
      Forked.run {
        F.synchronize(); return 0
      } == .exited(0))
  }

  /// A filter that kills, installed by the process itself before its first use of the library.
  @Test func mbAndQSBRAloneNeverCallMembarrier() async {
    await #expect(processExitsWith: .success) {
      precondition(forbid_membarrier(true) == 0)
      await onThread { SandboxTests.useEverything(MB.self) }
      await onThread { SandboxTests.useEverything(QSBR.self) }
      await MB.synchronize()
      await MB.barrier()
    }
  }

  /// Then liburcu's flavors use full fences on both sides.
  @Test func everyFlavorWorksWhenMembarrierIsForbiddenBeforeItsFirstUse() async {
    await #expect(processExitsWith: .success) {
      precondition(forbid_membarrier(false) == 0)
      await onThread { SandboxTests.useEverything(Memb.self) }
      await onThread { SandboxTests.useEverything(Bulletproof.self) }
      await onThread { SandboxTests.useEverything(MB.self) }
      await onThread { SandboxTests.useEverything(QSBR.self) }
      await Memb.synchronize()
    }
  }

  /// With a filter from before the start, also sleepable domains work.
  @Test func everyFlavorWorksInAProcessThatStartsUnderAFilter() async {
    if ProcessInfo.processInfo.environment["QUIESCENCE_TEST_UNDER_A_FILTER"] != nil {
      await onThread {
        func useEverything() {
          for flavor in FlavorCase.all { SandboxTests.useEverything(flavor.type) }
          let domain = SleepableDomain()
          domain.read { _ in }
          domain.synchronize()
        }
        useEverything()
      }
      return
    }
    let status = await onThread { () -> Int32 in
      setenv("QUIESCENCE_TEST_UNDER_A_FILTER", "1", 1)
      defer { unsetenv("QUIESCENCE_TEST_UNDER_A_FILTER") }
      let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      let bundle = ["--test-bundle-path", CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? ""]
      let arguments =
        [executable.path] + (executable.pathExtension != "xctest" ? bundle : [])
        + [
          "--testing-library", "swift-testing", "--filter",
          "everyFlavorWorksInAProcessThatStartsUnderAFilter",
        ]
      var pointers = arguments.map { strdup($0) } + [nil]
      defer { for pointer in pointers { free(pointer) } }
      return run_without_membarrier(false, executable.path, &pointers)
    }
    #expect(status == 0)
  }

  /// Nothing can stand in for it then: readers are under way that pass no fence.
  @Test func membarrierThatIsForbiddenLaterEndsTheProcessWithOneLine() async {
    // In liburcu's grace period.
    let memb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThread {
        Memb.synchronize()
        Memb.read { _ in }
        precondition(forbid_membarrier(false) == 0)
        Memb.synchronize()
      }
    }
    #expect(line(memb).contains("Unrecoverable error: Operation not permitted"))
    // In a reclaimer that is about to sleep: it must not do so without the fence.
    let reclaimer = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThread {
        Memb.registerThread()
        precondition(forbid_membarrier(false) == 0)
        let ran = Parker()
        MB.retire { ran.open() }
        ran.wait()
        while true { usleep(1000) }
      }
    }
    #expect(line(reclaimer).hasSuffix(Self.refused))
    let domain = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThread {
        let domain = SleepableDomain()
        domain.synchronize()
        precondition(forbid_membarrier(false) == 0)
        domain.synchronize()
        // Without restartable sequences it relies on a grace period of Memb.
        Memb.synchronize()
      }
    }
    if ProcessorCell.isRestartable { #expect(line(domain).hasSuffix(Self.refused)) }
  }

  private static let refused =
    "Fatal error: membarrier(2) has worked before and is refused now: install the seccomp filter before the process "
    + "starts, or use MB and QSBR alone\n"

  private func line(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
  }
}
