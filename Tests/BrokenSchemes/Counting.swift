internal import Glibc
internal import ModuleManager
internal import Quiescence

extension BrokenScheme {
  /// Each call counts; the count is read or changed in the wrong order.
  static let counting = [
    counting(
      "broken-active-bit-as-printed", "the active bit is cleared if there are users",
      "a refused unload leaves a module that neither serves nor can be unloaded",
      caughtBy: "clearedActiveBitLeavesAnUnusableModule", .asPrinted),
    counting(
      "broken-read-then-going", "read the count, then refuse gets",
      "a get succeeds between the check of the count and the refusal of gets", .readThenGoing),
    counting(
      "broken-plain-increment", "get increments a count that is zero",
      "a get succeeds after the count was zero", .plainIncrement),
    counting(
      "broken-plain-add-back", "the base is added back to a count that has become zero",
      "a get fails although the unload fails as well",
      caughtBy: "plainAddBackFailsAGetOfAModuleInService", .plainAddBack),
    BrokenScheme(
      "broken-counts-without-stop", "per-processor counts, added up while other threads count",
      "a reference moves between processors during the sum; the sum misses it"
    ) { Summing(sumsFirst: false) },
    BrokenScheme(
      "broken-sum-before-grace-period", "per-processor counts, added up before the grace period",
      "a get that saw the live mode counts after the sum"
    ) { Summing(sumsFirst: true) },
  ]

  private static func counting(
    _ name: String, _ summary: String, _ whatGoesWrong: String,
    caughtBy: String = "stormCatchesBrokenSchemes",
    _ fault: Counting.Fault
  ) -> BrokenScheme {
    BrokenScheme(name, summary, whatGoesWrong, caughtBy: caughtBy) { Counting(fault) }
  }
}

/// One count with a base reference, and a bit that admits users.
final class Counting: Scheme, Gate {
  enum Fault { case asPrinted, readThenGoing, plainIncrement, plainAddBack }

  private let fault: Fault
  private let count = Primitive.Word(1)
  private let isActive = Primitive.Flag(true)
  private let waiter = ZeroWaiter()

  init(_ fault: Fault) { self.fault = fault }

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }
  func enter() -> Int { get() ? 0 : -1 }
  func leave(_ token: Int) { put() }
  /// None for the manager's own look, where it is the scheme that has to find them.
  var references: Int {
    if fault == .asPrinted || fault == .plainAddBack { return 0 }
    return max(0, count.load(ordering: .sequentiallyConsistent) - 1)
  }

  func get() -> Bool {
    if !isActive.load(ordering: .sequentiallyConsistent) { return false }
    if fault == .plainIncrement || fault == .readThenGoing {
      Hole.widen()
      count.add(1, ordering: .sequentiallyConsistent)
      return true
    }
    return addUnlessZero()
  }

  func put() {
    if count.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { waiter.wake() }
  }

  func unload(_ operation: UnloadOperation) {
    let counters = operation.counters
    operation.makeExact(counters) { self.close(operation, counters) }
  }

  private func close(_ operation: UnloadOperation, _ counters: CounterSet) {
    let holders = operation.module.holders
    if !operation.mayWait && (!counters.areUnused || !close()) {
      counters.revive()
      return operation.refuse(holders)
    }
    operation.begin()
    if operation.mayWait {
      isActive.store(false, ordering: .sequentiallyConsistent)
      operation.tellUsers()
      count.subtract(1, ordering: .sequentiallyConsistent)
      return waiter.wait(isZero: { self.count.load(ordering: .sequentiallyConsistent) == 0 }) {
        operation.later { self.takeDown(operation, counters) }
      }
    }
    takeDown(operation, counters)
  }

  private func takeDown(_ operation: UnloadOperation, _ counters: CounterSet) {
    operation.unregisterInterfaces()
    operation.awaitZero(of: counters, orElse: nil) { operation.leave() }
  }

  private func close() -> Bool {
    switch fault {
    case .asPrinted:
      // if (<mod_user_count>) <clear_mod_active_bit>
      let isUsed = count.load(ordering: .sequentiallyConsistent) > 1
      if isUsed { isActive.store(false, ordering: .sequentiallyConsistent) }
      return !isUsed
    case .readThenGoing:
      if count.load(ordering: .sequentiallyConsistent) > 1 { return false }
      Hole.widen()
      isActive.store(false, ordering: .sequentiallyConsistent)
      return true
    case .plainIncrement:
      if count.subtract(1, ordering: .sequentiallyConsistent).newValue > 0 {
        if addUnlessZero() { return false }
      }
      Hole.widen()
      isActive.store(false, ordering: .sequentiallyConsistent)
      return true
    case .plainAddBack:
      if count.subtract(1, ordering: .sequentiallyConsistent).newValue > 0 {
        Hole.widen()
        count.add(1, ordering: .sequentiallyConsistent)
        return false
      }
      isActive.store(false, ordering: .sequentiallyConsistent)
      return true
    }
  }

  private func addUnlessZero() -> Bool {
    var old = count.load(ordering: .sequentiallyConsistent)
    while old != 0 {
      let (isDone, now) = count.compareExchange(
        expected: old, desired: old + 1, ordering: .sequentiallyConsistent)
      if isDone { return true }
      old = now
    }
    return false
  }
}

/// A count on each processor, and a bit that admits users. No thread is stopped while the unload
/// adds the counts up.
final class Summing: Scheme, Gate {
  private let sumsFirst: Bool
  private let isLive = Primitive.Flag(true)
  private let first = Primitive.Word(0)
  private let others = Primitive.Word(0)

  init(sumsFirst: Bool) { self.sumsFirst = sumsFirst }

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }
  func enter() -> Int { get() ? 0 : -1 }
  func leave(_ token: Int) { put() }
  /// None for the manager's own look where the sum is what is broken: that would have to miss the
  /// same reference.
  var references: Int { sumsFirst ? max(0, sum) : 0 }

  private var sum: Int {
    first.load(ordering: .sequentiallyConsistent) + others.load(ordering: .sequentiallyConsistent)
  }

  private func add(_ difference: Int) {
    let slot = Processor.current == 0
    if slot {
      first.add(difference, ordering: .sequentiallyConsistent)
    } else {
      others.add(difference, ordering: .sequentiallyConsistent)
    }
  }

  func get() -> Bool {
    if !isLive.load(ordering: .sequentiallyConsistent) { return false }
    // Between the test and the addition: here the bogolock of `TryAcquire` restarts the get.
    Hole.widen()
    add(1)
    return true
  }

  func put() { add(-1) }

  func unload(_ operation: UnloadOperation) {
    let counters = operation.counters
    operation.makeExact(counters) { self.sumUp(operation, counters) }
  }

  private func sumUp(_ operation: UnloadOperation, _ counters: CounterSet) {
    let holders = operation.module.holders
    if sumsFirst && !operation.mayWait {
      if !isUnused(operation, counters) { return refuse(operation, counters, holders) }
      Hole.widen()
      isLive.store(false, ordering: .sequentiallyConsistent)
      return operation.afterReaders { self.takeDown(operation, counters) }
    }
    isLive.store(false, ordering: .sequentiallyConsistent)
    if !isUnused(operation, counters) { return refuse(operation, counters, holders) }
    takeDown(operation, counters)
  }

  private func takeDown(_ operation: UnloadOperation, _ counters: CounterSet) {
    operation.begin()
    operation.unregisterInterfaces()
    counters.releaseOwners()
    operation.leave()
  }

  private func isUnused(_ operation: UnloadOperation, _ counters: CounterSet) -> Bool {
    if !operation.mayWait { return sum == 0 && counters.areUnused }
    while sum != 0 || !counters.areUnused { Primitive.yield() }
    return true
  }

  private func refuse(_ operation: UnloadOperation, _ counters: CounterSet, _ holders: [ModuleHolder]) {
    isLive.store(true, ordering: .sequentiallyConsistent)
    counters.revive()
    operation.refuse(holders)
  }
}
