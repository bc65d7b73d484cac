import Quiescence
import Synchronization
import TestSupport
import Testing

/// One rule for every barrier: everything retired before the call, by any thread and on any path,
/// has run, and so has everything that this retires in turn.
@Suite(.exclusive) struct BarrierTests {
  /// Threads and tasks retire through every path, callbacks retire again through every path, and
  /// barriers of every kind are called all the time. Each checks everything that it has to have
  /// waited for.
  @Test(arguments: [1, 2])
  func everyBarrierWaitsForWhatWasRetiredBefore(_ seed: UInt64) async {
    let paths = Paths()
    let early = Counter()
    let done = Counter()
    async let tasks: Void = withTaskGroup(of: Void.self) { group in
      for index in 0..<2 {
        group.addTask {
          var random = Random(seed: seed * 100 + UInt64(index))
          while done.value < 4 {
            let path = paths.all.randomElement(using: &random)!
            paths.retireTree(&random)
            let expected = path.unfinished
            await path.reclaimer.barrier()
            for node in expected where !node.isFinished { early.add(1) }
          }
        }
      }
    }
    await onThreads(5) { index in
      var random = Random(seed: seed * 1000 + UInt64(index))
      if index >= 4 { return paths.read(until: { done.value == 4 }, &random) }
      for _ in 0..<60 {
        for _ in 0..<Int.random(in: 0..<20, using: &random) { paths.retireTree(&random) }
        let path = paths.all.randomElement(using: &random)!
        let expected = path.unfinished
        path.reclaimer.barrier()
        for node in expected where !node.isFinished { early.add(1) }
      }
      done.add(1)
    }
    await tasks
    for path in paths.all { await path.reclaimer.barrier() }
    #expect(early.value == 0, "callbacks that a barrier did not wait for")
    #expect(paths.all.allSatisfy { $0.unfinished.isEmpty })
    #expect(paths.all.allSatisfy { $0.retired.value > 20 })
  }

  /// What has run by the time of the call counts too: what it retired elsewhere is still waiting.
  @Test func barrierWaitsForWhatFinishedCallbacksRetiredElsewhere() async {
    let domain = Shared(SleepableDomain("elsewhere"))
    let reclaimer = RCUReclaimer(named: "first", Memb.self)
    let inside = AsyncEvent(), leave = AsyncEvent()
    let reader = Task {
      await domain.value.read { _ in
        inside.open()
        await leave.wait()
      }
    }
    await inside.wait()
    let first = Parker()
    let last = Counter()
    reclaimer.retire {
      domain.value.retire { last.add(1) }
      first.open()
    }
    await onThreads { _ in first.wait() }
    let waiter = Task {
      await reclaimer.barrier()
      return last.value
    }
    #expect(last.value == 0)
    leave.open()
    #expect(await waiter.value == 1)
    await reader.value
  }

  /// An entry may run, and retire in turn, before the callback that has retired it returns.
  @Test func barrierWaitsForChainedCallbacksThatRunConcurrently() async {
    let domain = Shared(SleepableDomain("last"))
    let first = RCUReclaimer(named: "first", Memb.self), second = RCUReclaimer(named: "second", MB.self)
    let inside = AsyncEvent(), leave = AsyncEvent()
    let reader = Task {
      await domain.value.read { _ in
        inside.open()
        await leave.wait()
      }
    }
    await inside.wait()
    let last = Counter(), returned = Counter()
    first.retire {
      let hasRun = Parker()
      second.retire {
        domain.value.retire { last.add(1) }
        hasRun.open()
      }
      hasRun.wait()
    }
    let waiter = Task {
      await first.barrier()
      returned.add(1)
      return last.value
    }
    await onThread {
      while first.statistics.queued > 0 { Processor.yield() }
      // Time for a barrier that has forgotten the last one.
      for _ in 0..<100 { Memb.synchronize() }
    }
    #expect(returned.value == 0)
    leave.open()
    #expect(await waiter.value == 1)
    await reader.value
  }

  /// Callbacks that retire themselves hold up barriers of their own reclaimer, and no others: also
  /// where they stand in one queue with what the others wait for.
  @Test func endlessCallbackHoldsUpNoBarrierOfAnotherReclaimer() async {
    let endless = RCUReclaimer(named: "endless", Memb.self), other = RCUReclaimer(named: "other", MB.self)
    let isOver = Counter(), ran = Counter(), rounds = Counter()
    @Sendable func again() {
      rounds.add(1)
      if isOver.value == 0 { endless.retire { again() } }
    }
    endless.retire { again() }
    await onThread {
      for number in 1...100 {
        other.retire { endless.retire { endless.retire { ran.add(1) } } }
        other.barrier()
        precondition(ran.value == number, "the barrier did not wait for what its callbacks retired")
      }
      isOver.add(1)
      endless.barrier()
    }
    #expect(rounds.value > 1)
  }

  /// A barrier is bounded by what was retired before it, whatever other threads retire meanwhile.
  @Test func barriersAndShutdownEndUnderLoad() async {
    let reclaimer = RCUReclaimer(named: "loaded", Memb.self, limit: RetireLimit(10_000, .wait))
    let domain = Shared(SleepableDomain("loaded"))
    domain.value.reclaimer.limit = RetireLimit(10_000, .wait)
    let done = Counter()
    let retired = Counter(), ran = Counter()
    await onThreads(4) { index in
      if index < 2 {
        while done.value < 2 {
          reclaimer.retire { ran.add(1) }
          domain.value.retire { ran.add(1) }
          retired.add(2)
        }
        return
      }
      for _ in 0..<50 {
        if index == 2 { reclaimer.shutdown() } else { reclaimer.barrier() }
        domain.value.barrier()
      }
      done.add(1)
    }
    await reclaimer.shutdown()
    await domain.value.barrier()
    #expect(ran.value == retired.value)
  }

  /// The callbacks of a domain wait for sections of the domain, and for nothing else.
  @Test(.enabled(if: ProcessorCell.isRestartable))
  func domainReclaimsWhileSectionsOfFlavorsAreOpen() async {
    let domain = Shared(SleepableDomain("alone"))
    let other = Shared(SleepableDomain("other"))
    let isOver = Parker()
    let inside = Counter()
    await onThreads(3) { index in
      switch index {
      case 0:
        Memb.read { _ in
          inside.add(1); isOver.wait()
        }
      case 1:
        other.value.read { _ in
          inside.add(1); isOver.wait()
        }
      default:
        while inside.value < 2 { Processor.yield() }
        let ran = Parker()
        other.value.retire {}
        domain.value.retire { ran.open() }
        // By the library's thread, and by a barrier.
        ran.wait()
        for _ in 0..<100 {
          domain.value.retire {}
          domain.value.barrier()
          domain.value.startGracePeriod().wait()
        }
        isOver.open()
      }
    }
  }

  /// A thousand tasks wait for as many cohorts at once: they need no thread each.
  @Test func asyncBarriersOfCohortsNeedNoThreads() async {
    let host = RCUReclaimer(named: "host", Memb.self)
    let stuck = Parker(), isStuck = Parker()
    host.retire {
      isStuck.open(); stuck.wait()
    }
    await onThreads { _ in isStuck.wait() }
    let cohorts = (0..<1000).map { host.cohort(named: "cohort \($0)") }
    let ran = Counter()
    let threads = Counter()
    await withTaskGroup(of: Void.self) { group in
      for cohort in cohorts {
        group.addTask {
          for _ in 0..<10 { cohort.retire { cohort.retire { ran.add(1) } } }
          await cohort.barrier()
          let now = ProcessUsage.threads
          if now > threads.value { threads.add(now - threads.value) }
        }
      }
    }
    #expect(ran.value == 10_000)
    #expect(threads.value < 200)
    stuck.open()
    await host.shutdown()
  }
}

// MARK: - The paths

/// A generator whose numbers a seed repeats.
private struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}

/// Something that was retired, and what it retires in turn.
private final class Node: Sendable {
  /// Itself, and what it has retired that is not finished.
  private let left = Atomic<Int>(1)
  private let parent: Node?
  /// What its callback does, as numbers.
  let seed: UInt64
  let depth: Int
  private let path: Path

  init(_ path: Path, parent: Node?, seed: UInt64, depth: Int) {
    (self.path, self.parent, self.seed, self.depth) = (path, parent, seed, depth)
    parent?.left.add(1, ordering: .sequentiallyConsistent)
  }

  var isFinished: Bool { left.load(ordering: .sequentiallyConsistent) == 0 }

  func finish() {
    if left.subtract(1, ordering: .sequentiallyConsistent).newValue > 0 { return }
    path.forget(self)
    parent?.finish()
  }
}

/// One way to retire.
private final class Path: Sendable {
  let reclaimer: RCUReclaimer
  let retired = Counter()
  private let nodes = Shared(Locked([ObjectIdentifier: Node]()))

  init(_ reclaimer: RCUReclaimer) { self.reclaimer = reclaimer }

  /// After `node` was retired.
  func remember(_ node: Node) {
    retired.add(1)
    nodes.value.withLock { if !node.isFinished { $0[ObjectIdentifier(node)] = node } }
  }

  func forget(_ node: Node) { nodes.value.withLock { $0[ObjectIdentifier(node)] = nil } }

  /// What a barrier that begins now has to wait for.
  var unfinished: [Node] { nodes.value.withLock { Array($0.values) } }
}

private final class Paths: Sendable {
  let all: [Path]
  private let domains = [Shared(SleepableDomain("one")), Shared(SleepableDomain("two"))]

  init() {
    let own = RCUReclaimer(named: "own", Memb.self)
    var reclaimers = [Memb.reclaimer, QSBR.reclaimer, MB.reclaimer, Bulletproof.reclaimer, own]
    reclaimers += [Memb.reclaimer.cohort(named: "of Memb"), own.cohort(named: "of own")]
    reclaimers += [
      RCUReclaimer(named: "wait", MB.self, limit: RetireLimit(50, .wait)),
      RCUReclaimer(named: "inline", Memb.self, limit: RetireLimit(5, .synchronizeInline)),
      RCUReclaimer(named: "refuse", Bulletproof.self, limit: RetireLimit(20, .refuse)),
      RCUReclaimer(named: "executed", Memb.self, runner: .executor(Threads())),
    ]
    reclaimers += domains.map { $0.value.reclaimer }
    reclaimers.append(domains[0].value.reclaimer.cohort(named: "of a domain"))
    all = reclaimers.map(Path.init)
  }

  private final class Threads: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      _ = ServiceThread.start(named: "job") { [self] in
        job.runSynchronously(on: asUnownedTaskExecutor())
      }
    }
  }

  /// Retires something that retires something, and so on.
  func retireTree(_ random: inout Random) {
    retire(under: nil, depth: Int.random(in: 0...3, using: &random), &random)
  }

  private func retire(under parent: Node?, depth: Int, _ random: inout Random) {
    let path = all.randomElement(using: &random)!
    let node = Node(path, parent: parent, seed: random.next() | 1, depth: depth)
    switch random.next() % 4 {
    case 0: path.reclaimer.retire { [self] in run(node) }
    case 1: path.reclaimer.retireValue(AtEnd { [self] in run(node) })
    case 2:
      do throws(RetireError) {
        try path.reclaimer.tryRetire { [self] in run(node) }
      } catch {
        // It was not retired.
        return node.finish()
      }
    default: path.reclaimer.retire(ObjectAtEnd { [self] in run(node) })
    }
    path.remember(node)
  }

  private func run(_ node: Node) {
    var random = Random(seed: node.seed)
    if random.next() % 8 == 0 { Processor.yield() }
    if node.depth > 0 {
      for _ in 0..<Int.random(in: 0...2, using: &random) {
        retire(under: node, depth: node.depth - 1, &random)
      }
    }
    node.finish()
  }

  /// Sections of every kind, so that grace periods take a while.
  func read(until isOver: () -> Bool, _ random: inout Random) {
    while !isOver() {
      func stay() { for _ in 0..<3 { Processor.yield() } }
      switch random.next() % 6 {
      case 0: Memb.read { _ in stay() }
      case 1: MB.read { _ in stay() }
      case 2: Bulletproof.read { _ in stay() }
      case 3: QSBR.withOnlineReader { _ in stay() }
      default: domains.randomElement(using: &random)!.value.read { _ in stay() }
      }
    }
  }

  private struct AtEnd: ~Copyable, Sendable {
    let body: @Sendable () -> Void
    deinit { body() }
  }

  private final class ObjectAtEnd: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    deinit { body() }
  }
}
