import Quiescence
import Synchronization

/// One thread that replaces elements, and sends the old ones through the pipe: a step for each grace period, which it
/// waits for in every way there is, in turn.
final class Writer<F: TortureFlavor> {
  let scene: Scene<F>
  let index: Int
  var random: Random
  let pool: ElementPool
  /// Removed elements that this thread makes older after each grace period that it has waited for.
  private var pipe: [ElementReference] = []
  /// Removed elements with a polled grace period each.
  private var polled: [(element: ElementReference, gracePeriod: GracePeriod<F>)] = []
  /// Those that callbacks carry, by their place in the pool.
  private var carried: [Int: ElementEntry<F>] = [:]
  private var turn: Int
  private var published: UInt64 = 0

  init(_ scene: Scene<F>, index: Int) {
    self.scene = scene
    self.index = index
    random = Random(seed: scene.options.seed, stream: 1000 + index)
    pool = scene.pools[index]
    // Each writer begins elsewhere.
    turn = index * 5
  }

  /// Until the run stops and all that can come back has come back.
  func run() {
    while !scene.isStopped {
      step()
      if random.oneIn(64) { sleep(microseconds: random.below(1000)) }
      scene.gate.pass()
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

  /// Waits, and makes older what was removed before.
  private func wait(_ way: Way) {
    let travelling = way == .barrier || way == .asyncBarrier ? carried.values.filter(\.isBusy) : []
    scene.wait(for: way, as: index, box: scene.boxes[index], random: &random)
    // A barrier waits for what callbacks retire in turn: the elements are at the end of the pipe.
    let left = travelling.count { $0.isBusy }
    scene.failures.record(
      .barrierErrors, count: left,
      "\(way.words) returned while \(left) elements were in the hands of callbacks")
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

  /// Looks at the polled grace periods, and starts another for what has not reached the end.
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
