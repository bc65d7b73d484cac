import CTorture
import Glibc
import Quiescence

/// One thread that reads: sections of every shape and length, and what it found at the end of each.
final class Reader<F: TortureFlavor>: RoundReader {
  private let scene: Scene<F>
  private let index: Int
  private var random: Random
  private let tally: ReaderTally
  private let presence: Presence
  /// Fetched before: on the way through the writers' objects a reader would retain them, and that is a fence.
  private let slots: [UnsafeMutablePointer<ElementPool.Slot>]
  private let readsBoxes: Bool
  /// What the current section does, for the words of a failure.
  private var shape = Shape()
  private lazy var callbacks = (0..<8).map { _ in ChainedEntry<F>(ledger: scene.ledger) }

  private struct Shape {
    var depth = 1
    var overlaps = 0
    var heldMicroseconds = 0
  }

  init(_ scene: Scene<F>, index: Int) {
    self.scene = scene
    self.index = index
    random = Random(seed: scene.options.seed, stream: index)
    tally = scene.readerTallies[index]
    presence = scene.presence
    slots = scene.pools.map(\.slot)
    // Its old values are freed memory when grace periods do not wait.
    readsBoxes = scene.options.breakage != .noGracePeriod
  }

  /// Until the run stops.
  func run() {
    while !scene.isStopped {
      F.round(of: self)
      scene.gate.pass()
    }
  }

  func below(_ bound: Int) -> Int { random.below(bound) }

  // MARK: - Outside

  func pause() {
    switch random.below(32) {
    case 0..<16: break
    case 16..<24: torture_spin(random.below(512))
    case 24..<28: sched_yield()
    // Readers that never sleep would be preempted inside a section most of the time, and grace periods be as long as
    // the scheduler's time slices.
    default: sleep(microseconds: 50 + random.below(500))
    }
  }

  // MARK: - Sections

  /// One outermost section, all the way.
  func section() {
    shape = Shape()
    tally.bump(.sections)
    let choice = random.below(4096)
    F.unsafeEnter()
    presence.entered(index)
    switch choice {
    case 0..<256: nested(depth: 2 + random.below(5))
    case 256..<512: overlapping(count: 1 + random.below(8))
    case 512..<576: batch()
    case 576..<592: polled()
    case 592..<600: retiring()
    case 600..<856 where readsBoxes: box()
    default: hold()
    }
    presence.leaves(index)
    F.unsafeLeave()
  }

  /// Holds one element to the end, and does `inside` meanwhile.
  @inline(__always)
  private func hold(_ inside: () -> Void = {}) {
    guard let element = slots[random.below(slots.count)].pointee.current.load(ordering: .acquiring) else {
      return
    }
    let number = element.pointee.contents()
    if number == nil { fail(.publicationErrors, "an element without its contents, right after it was found") }
    inside()
    delay()
    finish(element, number)
  }

  /// The end of the section for one element.
  @inline(__always)
  private func finish(_ element: UnsafeMutablePointer<Element>, _ number: UInt64?) {
    if let number, element.pointee.contents() != number {
      fail(.usedAfterFree, "an element was freed or used again inside the section")
    }
    let age = min(element.pointee.age.load(ordering: .relaxed), Element.pipeLength)
    tally.ages.bump(age)
    if age > 1 { fail(.overtaken, "an element of age \(age)") }
  }

  /// The outermost section alone counts: what it holds stays through all that is left inside.
  private func nested(depth: Int) {
    tally.bump(.nested)
    shape.depth = depth
    nest(depth - 1)
  }

  private func nest(_ depth: Int) {
    hold {
      if depth == 0 { return }
      F.read { _ in nest(depth - 1) }
      // Another, after the first was left.
      if depth == 1 { F.read { _ in hold() } }
    }
  }

  /// A new section is entered before the old one is left, again and again.
  private func overlapping(count: Int) {
    tally.bump(.overlapping)
    shape.overlaps = count
    hold {
      for _ in 0..<count {
        F.unsafeEnter()
        hold()
        // The old one; the new one is what protects from here on.
        F.unsafeLeave()
        hold()
      }
    }
  }

  /// Grace periods may end inside a section, but one at the most: the next begins when that one has ended.
  private func batch() {
    let before = F.completedGracePeriods
    hold()
    let ended = F.completedGracePeriods - before
    tally.batches.bump(min(max(ended, 0), 3))
    if ended > 1 { fail(.batchErrors, "\(ended) grace periods ended") }
  }

  /// A grace period that is asked for inside the section waits for it.
  private func polled() {
    let gracePeriod = F.startGracePeriod()
    hold()
    if gracePeriod.isElapsed {
      fail(.pollErrors, "a grace period had elapsed that was started inside the section")
    }
  }

  /// Retiring is allowed inside a section.
  private func retiring() {
    hold {
      guard let entry = callbacks.first(where: { !$0.isBusy }) else { return }
      let kind = RetireKind.allCases[random.below(3)]
      entry.post(as: kind, choosing: random.next(), links: random.below(3), polls: random.oneIn(2))
    }
  }

  private func box() {
    tally.bump(.boxes)
    let isWhole = scene.boxes[random.below(slots.count)].box.read { stamp in
      let number = stamp.number
      hold()
      return stamp.isWhole && stamp.number == number
    }
    if !isWhole { fail(.usedAfterFree, "a box's value changed inside the section") }
  }

  // MARK: - Delays

  private func delay() {
    switch random.below(65536) {
    case 0..<16384: torture_spin(random.below(64))
    case 16384..<16640: sched_yield()
    case 16640..<16680: torture_spin(random.below(20000))
    // Held for as long as several grace periods take otherwise.
    case 16680..<16684:
      let duration = 500 + random.below(5000)
      shape.heldMicroseconds += duration
      tally.bump(.held)
      sleep(microseconds: duration)
    default: break
    }
  }

  private func fail(_ failure: Failure, _ words: @autoclosure () -> String) {
    scene.failures.record(
      failure,
      "\(words()); reader \(index), nested \(shape.depth) deep, \(shape.overlaps) overlapping sections, "
        + "slept \(shape.heldMicroseconds) µs")
  }
}
