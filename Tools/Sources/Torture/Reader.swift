import CTorture
import Glibc
import Quiescence

/// A thread that reads in sections of every shape and length, and checks at the end of each what it
/// has found.
final class Reader<F: TortureFlavor>: RoundReader {
  private let scene: Scene<F>
  private let index: Int
  private var random: Random
  private let tally: ReaderTally
  private let presence: Presence
  /// Fetched in advance: through the writers' objects, a reader would retain them, and a retain is
  /// a fence.
  private let slots: [UnsafeMutablePointer<ElementPool.Slot>]
  private let readsBoxes: Bool
  /// What the current section does, for the description of a failure.
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
    // Without grace periods, the old values of boxes are freed memory.
    readsBoxes = scene.options.breakage != .noGracePeriod
  }

  /// Runs until the torture stops.
  func run() {
    while !scene.isStopped {
      F.round(of: self)
      scene.pausePoint.pass()
    }
  }

  func below(_ bound: Int) -> Int { random.below(bound) }

  // MARK: - Outside

  func pause() {
    switch random.below(32) {
    case 0..<16: break
    case 16..<24: torture_spin(random.below(512))
    case 24..<28: sched_yield()
    // If readers never slept, most would be preempted inside a section, and a grace period would
    // take as long as the scheduler's time slices.
    default: sleep(microseconds: 50 + random.below(500))
    }
  }

  // MARK: - Sections

  /// One outermost section.
  func section() {
    shape = Shape()
    tally.bump(.sections)
    let choice = random.below(4096)
    var token = F.unsafeEnter()
    presence.entered(index)
    switch choice {
    case 0..<256: nested(depth: 2 + random.below(5))
    case 256..<512: overlapping(&token, count: 1 + random.below(8))
    case 512..<576: batch()
    case 576..<592: polled()
    case 592..<600: retiring()
    case 600..<856 where readsBoxes: box()
    default: hold()
    }
    presence.leaves(index)
    F.unsafeLeave(token)
  }

  /// Holds one element up to the end, and runs `inside` in between.
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

  /// Checks an element at the end of its section.
  @inline(__always)
  private func finish(_ element: UnsafeMutablePointer<Element>, _ number: UInt64?) {
    if let number, element.pointee.contents() != number {
      fail(.usedAfterFree, "an element was freed or used again inside the section")
    }
    let age = min(element.pointee.age.load(ordering: .relaxed), Element.pipeLength)
    tally.ages.bump(age)
    if age > 1 { fail(.overtaken, "an element of age \(age)") }
  }

  /// Only the outermost section protects: its element stays valid when inner sections end.
  private func nested(depth: Int) {
    tally.bump(.nested)
    shape.depth = depth
    nest(depth - 1)
  }

  private func nest(_ depth: Int) {
    hold {
      if depth == 0 { return }
      F.read { _ in nest(depth - 1) }
      // Another one, after the first has ended.
      if depth == 1 { F.read { _ in hold() } }
    }
  }

  /// Enters a new section before it leaves the old one, several times. A flavor with tokens
  /// requires the reverse order: there it leaves the new section.
  private func overlapping(_ token: inout F.Token, count: Int) {
    tally.bump(.overlapping)
    shape.overlaps = count
    hold {
      for _ in 0..<count {
        let new = F.unsafeEnter()
        hold()
        if F.Token.self == Void.self {
          // Leaves the old section; the new one protects from here on.
          F.unsafeLeave(token)
          token = new
        } else {
          F.unsafeLeave(new)
        }
        hold()
      }
    }
  }

  /// At most one grace period can end inside a section: the next one begins after that end, and
  /// waits for this section.
  private func batch() {
    let before = F.completedGracePeriods
    hold()
    let ended = F.completedGracePeriods - before
    tally.batches.bump(min(max(ended, 0), 3))
    if ended > 1 { fail(.batchErrors, "\(ended) grace periods ended") }
  }

  /// A grace period that is started inside the section must wait for it.
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
    // As long as several grace periods normally take.
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
