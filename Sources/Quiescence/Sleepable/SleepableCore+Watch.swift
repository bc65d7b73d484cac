internal import Synchronization
internal import _QuiescenceShims

extension SleepableCore: StallSource {
  var startOfGracePeriod: UInt64 { runningSince.load(ordering: .relaxed) }

  func reportStall(_ duration: Duration, _: inout ReaderWatch) -> Bool {
    let old = front.pointee.load(ordering: .relaxed) == cells.0.pointer ? cells.1 : cells.0
    let count = Self.count(old).pointee.load(ordering: .relaxed)
    stalls.report(
      StallReport(
        flavor: "SleepableDomain \"\(name)\"", duration: duration, readers: [],
        sections: count > 0 && count < Self.bias / 2 ? count : nil, cause: .sections))
    return true
  }
}

// MARK: - Forks

extension SleepableCore {
  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: tasks and other threads are gone, so their sections are never left.
  func resetAfterFork() {
    state.whileHeld { state in
      let open = sections
      // What waited in the parent is neither resumed nor released here: see `Waiter`. The reclaimer
      // collects its callbacks again.
      state.lost += state.waiters + state.nextWaiters
      state.waiters = []
      state.nextWaiters = []
      state.isWanted = false
      if open == 0 {
        // As at the start.
        for cell in [cells.0, cells.1] {
          cell.clear()
          Self.count(cell).pointee.store(Self.bias, ordering: .relaxed)
          cell.mode.pointee.store(Phase.closed.mode, ordering: .relaxed)
        }
        let cell = ProcessorCell(front.pointee.load(ordering: .relaxed))
        cell.mode.pointee.store(Self.openPhase(cell).mode, ordering: .releasing)
        state.isRunning = false
      } else if state.isRunning || open != sectionsOfThisThread {
        state.isBroken = true
      }
    }
    runningSince.store(0, ordering: .relaxed)
    state.releaseAfterFork()
  }

  private var sectionsOfThisThread: Int {
    var count = 0
    var frame = qs_sleepable_innermost()
    while let current = frame {
      if current.pointee.domain == UnsafeRawPointer(front) { count += 1 }
      frame = current.pointee.outer
    }
    return count
  }
}
