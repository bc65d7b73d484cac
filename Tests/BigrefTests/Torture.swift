import Glibc
import Quiescence
import SequenceVariants
import Synchronization
import TestSupport

@testable import Bigref

/// Counters are killed, resurrected and destroyed while threads count on them, hand references to
/// each other, are moved between processors all the time, and are interrupted by signals whose
/// handler counts too.
final class Torture: Sendable {
  /// The sequence that counts, and the step that is left out: the mutants.
  enum Variant {
    /// The library as it is.
    case correct
    /// A sequence that takes so long that it is interrupted most of the time.
    case long
    /// A long sequence that the kernel does not restart.
    case withoutRestart
    /// A long sequence, and no barrier before the slots are added up.
    case withoutBarrier
    /// The bias is removed before the slots are added up.
    case withoutBias
  }

  /// Counts of what happened in a run.
  struct Result {
    var rounds = 0
    var signals = 0
    var moves = 0
    /// References that another thread released than the one that acquired them.
    var handed = 0
  }

  private let variant: Variant
  private let places: Places
  /// The address of the target that each worker holds. The target itself is not accessed after its
  /// reference is released.
  private let held: [Shared<Atomic<UInt>>]
  /// The number of rounds of each worker. Between two rounds it holds no reference.
  private let turns: [Counter]
  private let threads: [Shared<Atomic<UInt>>]
  private let ids: [Shared<Atomic<Int32>>]
  private let isDone = Shared(Atomic(false))
  private let handed = Counter()
  private let moves = Counter()

  static let workers = 4

  init(_ variant: Variant = .correct) {
    self.variant = variant
    places = Places(variant)
    held = (0..<Self.workers).map { _ in Shared(Atomic(0)) }
    turns = (0..<Self.workers).map { _ in Counter() }
    threads = (0..<Self.workers).map { _ in Shared(Atomic(0)) }
    ids = (0..<Self.workers).map { _ in Shared(Atomic(0)) }
  }

  /// Runs until `isEnough` returns true. Traps at the first error.
  func run(until isEnough: @escaping @Sendable (Result) -> Bool) async -> Result {
    let rounds = Counter()
    Ambient.handleSignals()
    let signalsBefore = Ambient.signals.value
    let result = { @Sendable rounds in
      Result(
        rounds: rounds, signals: Ambient.signals.value - signalsBefore, moves: self.moves.value,
        handed: self.handed.value)
    }
    await onThreads(Self.workers + 3) { index in
      switch index {
      case 0:
        rounds.add(self.own { isEnough(result($0)) })
        self.isDone.value.store(true, ordering: .sequentiallyConsistent)
      case 1: self.moveWorkers()
      case 2: self.interruptWorkers()
      default: self.work(index - 3)
      }
    }
    places.drain()
    if Ambient.total != 0 { fatalError("torture: \(Ambient.total) references are left") }
    return result(rounds.value)
  }
}

// MARK: - The owner

extension Torture {
  private func own(_ isEnough: (Int) -> Bool) -> Int {
    var rounds = 0
    while !isEnough(rounds) {
      let place = rounds % Places.count
      let target = places.target(place)
      let isDestroyed = rounds % 3 == 0
      if isDestroyed { places.publish(Target(variant), at: place) }
      kill(target.count)
      target.era.add(1)

      if !target.count.waitForZero(atMost: .milliseconds(1)) {
        // In its current round, each worker releases its reference or hands it on. No worker
        // acquires a new one.
        waitForRounds()
        while target.takeHanded() { target.release() }
        // A worker that has taken over a reference releases it in the same round.
        waitForRounds()
        if !target.count.isZero { fatalError("torture: a missed zero") }
      }
      let address = UInt(bitPattern: Unmanaged.passUnretained(target).toOpaque())
      for worker in held where worker.value.load(ordering: .sequentiallyConsistent) == address {
        fatalError("torture: a false zero, a worker holds a reference")
      }
      if target.handed.value != 0 { fatalError("torture: a false zero, a reference was handed on") }

      if isDestroyed {
        // The next target may have the same address: no worker holds this one, and its era starts
        // at zero.
        Memb.retire(target)
        places.forget(target)
      } else {
        target.era.add(1)
        target.count.resurrect()
      }
      rounds += 1
    }
    return rounds
  }

  /// Waits until every worker has ended its current round.
  private func waitForRounds() {
    let before = turns.map(\.value)
    for (turn, before) in zip(turns, before) { while turn.value == before { usleep(20) } }
  }

  private func kill(_ count: borrowing Bigref) {
    count.beginKill()
    if variant == .withoutBias {
      count.storage.state.pointee.count.subtract(Storage.bias, ordering: .relaxed)
    }
    if variant != .withoutBarrier {
      if Storage.needsGracePeriod { Memb.synchronize() }
      ProcessorCell.passBarrier(count.storage.state.pointee.barrier)
    }
    if variant == .withoutBias { count.storage.state.pointee.count.add(Storage.bias, ordering: .relaxed) }
    count.storage.addUp()
    count.releaseOwner()
  }
}

// MARK: - The workers

extension Torture {
  private func work(_ index: Int) {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGUSR1)
    ids[index].value.store(ServiceThread.currentID, ordering: .sequentiallyConsistent)
    threads[index].value.store(UInt(pthread_self()), ordering: .sequentiallyConsistent)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    var random = SystemRandomNumberGenerator()
    while !isDone.value.load(ordering: .relaxed) {
      let choice = random.next()
      for _ in 0..<4 {
        Ambient.count.acquire()
        Ambient.count.release()
      }
      useOne(Int(choice % UInt64(Places.count)), hold: held[index].value, handsOn: choice & 0x300 == 0)
      if choice & 0x1c00 == 0 { takeOver(Int((choice >> 16) % UInt64(Places.count))) }
      turns[index].add(1)
    }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    // From here on, no signal is sent to this thread, which is about to end.
    threads[index].value.store(0, ordering: .sequentiallyConsistent)
  }

  private func useOne(_ place: Int, hold: borrowing Atomic<UInt>, handsOn: Bool) {
    let found: (target: Unmanaged<Target>, era: Int)? = Memb.read { _ in
      let target = places.unmanaged(place)
      let era = target._withUnsafeGuaranteedRef { $0.era.value }
      return target._withUnsafeGuaranteedRef { $0.tryAcquireLive() } ? (target, era) : nil
    }
    guard let (target, era) = found else { return }
    target._withUnsafeGuaranteedRef { target in
      hold.store(
        UInt(bitPattern: Unmanaged.passUnretained(target).toOpaque()), ordering: .sequentiallyConsistent)
      // Odd from the confirmation of a kill to the resurrection.
      if era % 2 == 1 && target.era.value == era { fatalError("torture: acquired after the confirmation") }
      target.acquire()
      target.release()
      // Cleared first: another worker may take the reference over and release it at once.
      hold.store(0, ordering: .sequentiallyConsistent)
      if handsOn { target.handed.add(1) } else { target.release() }
    }
  }

  /// Releases a reference that another thread has handed on.
  private func takeOver(_ place: Int) {
    let taken: Unmanaged<Target>? = Memb.read { _ in
      let target = places.unmanaged(place)
      return target._withUnsafeGuaranteedRef { $0.takeHanded() } ? target : nil
    }
    guard let taken else { return }
    taken._withUnsafeGuaranteedRef { $0.release() }
    handed.add(1)
  }
}

// MARK: - Disturbances

extension Torture {
  /// Moves every worker to another processor, again and again.
  private func moveWorkers() {
    let processors = Affinity.processors
    var step = 0
    while !isDone.value.load(ordering: .relaxed) {
      for id in ids {
        let id = id.value.load(ordering: .sequentiallyConsistent)
        // Fails for a thread that has ended. Its number is not reused this soon.
        if id != 0 && Affinity.move(id, to: processors[step % processors.count]) {
          step += 1
          moves.add(1)
        }
      }
      // An odd step: in the next round, each worker moves to another processor.
      step += 1
      sched_yield()
    }
  }

  private func interruptWorkers() {
    while !isDone.value.load(ordering: .relaxed) {
      for thread in threads {
        let thread = thread.value.load(ordering: .sequentiallyConsistent)
        if thread != 0 { pthread_kill(pthread_t(thread), SIGUSR1) }
      }
      // Slow enough that the workers make progress.
      usleep(20)
    }
  }
}

// MARK: - The counters

/// A counter that is always live, and that the signal handler uses too.
enum Ambient {
  static let count = Bigref()
  static let signals = Counter()

  static func handleSignals() {
    // Initialized before a handler runs.
    _ = total + signals.value
    signal(SIGUSR1) { _ in
      Ambient.count.acquire()
      Ambient.signals.add(1)
      Ambient.count.release()
    }
  }

  /// Exact when no thread is counting.
  static var total: Int {
    count.storage.state.pointee.count.load(ordering: .relaxed) - Storage.bias - 1 + count.storage.cell.sum
  }
}

final class Target: Sendable {
  let count = Bigref()
  /// References that were handed on, for another thread to release.
  let handed = Counter()
  /// Odd from the confirmation of a kill to the resurrection.
  let era = Counter()
  private let variant: Torture.Variant

  init(_ variant: Torture.Variant) {
    self.variant = variant
  }

  func takeHanded() -> Bool {
    var old = handed.value
    while old > 0 {
      if handed.exchange(from: old, to: old - 1) { return true }
      old = handed.value
    }
    return false
  }

  func tryAcquireLive() -> Bool {
    guard let added = add(1) else { return count.tryAcquireLive() }
    return added || count.storage.tryAcquireSlowly(onlyLive: true, for: nil)
  }

  func acquire() {
    guard let added = add(1) else { return count.acquire() }
    if !added { count.storage.acquireSlowly(for: nil) }
  }

  func release() {
    guard let added = add(-1) else { return count.release() }
    if !added { count.storage.releaseSlowly(for: nil) }
  }

  /// Counts with the variant's own sequence. Nil if it uses the library's.
  private func add(_ difference: Int) -> Bool? {
    let cell = count.storage.cell
    switch variant {
    case .correct, .withoutBias: return nil
    case .long, .withoutBarrier: return add_by_long_sequence(cell.pointer, Int64(difference))
    case .withoutRestart:
      if add_by_unannounced_sequence(cell.pointer, Int64(difference)) { return true }
      // Without restartable sequences, the equivalent in Swift: a read and a write that an
      // interruption can separate.
      guard cell.mode.pointee.load(ordering: .relaxed) == Storage.Phase.shared.mode else { return false }
      let slot = UnsafeMutablePointer<Int>(bitPattern: count.storage.slots + UInt(Processor.current) << 16)!
      slot.pointee &+= difference
      return true
    }
  }
}

/// The targets that workers can find.
final class Places: Sendable {
  static let count = 3
  private let addresses: [Shared<Atomic<UInt>>]

  init(_ variant: Torture.Variant) {
    addresses = (0..<Self.count).map { _ in
      Shared(Atomic(UInt(bitPattern: Unmanaged.passRetained(Target(variant)).toOpaque())))
    }
  }

  func unmanaged(_ place: Int) -> Unmanaged<Target> {
    let address = addresses[place].value.load(ordering: .acquiring)
    // Retained by the place.
    return Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: address)!)
  }

  func target(_ place: Int) -> Target { unmanaged(place).takeUnretainedValue() }

  /// The old target keeps the place's retain until ``forget(_:)``.
  func publish(_ target: Target, at place: Int) {
    addresses[place].value.store(
      UInt(bitPattern: Unmanaged.passRetained(target).toOpaque()), ordering: .releasing)
  }

  func forget(_ target: Target) {
    // `Memb.retire` holds a retain of its own.
    Unmanaged.passUnretained(target).release()
  }

  /// After all workers have ended: releases what was handed on, and releases the targets.
  func drain() {
    for place in 0..<Self.count {
      let target = unmanaged(place).takeRetainedValue()
      while target.takeHanded() { target.release() }
      if target.count.approximateCount != 0 { fatalError("torture: references are left") }
    }
  }
}
