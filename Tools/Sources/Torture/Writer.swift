import Quiescence
import Synchronization

/// A thread that replaces elements and sends the old ones through the pipe, one step per grace
/// period. It uses every way to wait for grace periods in turn.
final class Writer<F: TortureFlavor> {
  let scene: Scene<F>
  let index: Int
  var random: Random
  let pool: ElementPool
  /// Removed elements whose age this thread increases after each grace period that it has waited
  /// for.
  private var pipe: [ElementReference] = []
  /// Removed elements, each with a polled grace period.
  private var polled: [(element: ElementReference, gracePeriod: GracePeriod<F>)] = []
  /// The entries of elements that callbacks carry, by the element's index in the pool.
  private var carried: [Int: ElementEntry<F>] = [:]
  private var turn: Int
  private var published: UInt64 = 0

  init(_ scene: Scene<F>, index: Int) {
    self.scene = scene
    self.index = index
    random = Random(seed: scene.options.seed, stream: 1000 + index)
    pool = scene.pools[index]
    // Each writer starts with a different way.
    turn = index * 5
  }

  /// Runs until the torture stops and the writer's elements have come back.
  func run() {
    while !scene.isStopped {
      step()
      if random.oneIn(64) { sleep(microseconds: random.below(1000)) }
      scene.pausePoint.pass()
    }
    while !pipe.isEmpty || !polled.isEmpty {
      wait(.synchronize)
      sweep()
    }
  }

  private func step() {
    let way = Way.allCases[turn % Way.allCases.count]
    turn += 1
    sweep()
    guard let new = pool.take() else {
      scene.emptyPools.add(1, ordering: .relaxed)
      return wait(.synchronize)
    }
    published += 1
    new.pointer.pointee.fill(mix(published) ^ UInt64(index))
    scene.updates.add(1, ordering: .relaxed)
    guard let old = pool.publish(new) else { return }
    if scene.options.breakage == .earlyFree {
      old.pointer.pointee.free()
      return wait(way)
    }
    switch way {
    case .pollMany:
      scene.waits.count(way)
      polled.append((old, F.startGracePeriod()))
    case .retireClosure: carry(old, by: .closure, way)
    case .retireObject: carry(old, by: .object, way)
    case .retireFunction: carry(old, by: .function, way)
    default:
      pipe.append(old)
      wait(way)
    }
  }

  /// Waits for a grace period, and increases the age of the elements that were removed before.
  private func wait(_ way: Way) {
    let traveling = way == .barrier || way == .asyncBarrier ? carried.values.filter(\.isBusy) : []
    scene.wait(for: way, as: index, box: scene.boxes[index], random: &random)
    // A barrier also waits for what callbacks retire in turn, so these elements must be at the end
    // of the pipe.
    let left = traveling.count { $0.isBusy }
    scene.failures.record(
      .barrierErrors, count: left,
      "\(way.words) returned while \(left) elements were still carried by callbacks")
    pipe.removeAll { element in
      let isLast = element.ageByOne()
      if isLast { element.pointer.pointee.free() }
      return isLast
    }
  }

  private func carry(_ element: ElementReference, by kind: RetireKind, _ way: Way) {
    scene.waits.count(way)
    let place = pool.index(of: element)
    let entry = carried[place] ?? ElementEntry(element, ledger: scene.ledger, seed: random.next())
    carried[place] = entry
    entry.start(as: kind)
  }

  /// Tests the polled grace periods, and starts another one for each element that is not at the end
  /// of the pipe.
  private func sweep() {
    for place in polled.indices.reversed() where polled[place].gracePeriod.isElapsed {
      let element = polled[place].element
      if element.ageByOne() {
        element.pointer.pointee.free()
        polled.remove(at: place)
      } else {
        polled[place].gracePeriod = F.startGracePeriod()
      }
    }
  }
}
