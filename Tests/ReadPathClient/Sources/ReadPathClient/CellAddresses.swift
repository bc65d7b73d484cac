import Quiescence

/// Projections and caches of boxes that are stored, moved and captured in every way. Returns the
/// names of those that read an address where the box is not, or is no longer.
///
/// A copy of this file is part of the client that is built in release mode; `make lint` compares
/// the two.
func cellAddressFailures() -> [String] {
  var failures: [String] = []

  do {
    let box = RCUBox(Place(7))
    expectLive(box, "a local", &failures)
    let moved = consume box
    expectLive(moved, "a local that was moved", &failures)
  }
  do {
    var box = RCUBox(Place(7))
    expectLive(box, "a variable", &failures)
    box = RCUBox(Place(7))
    expectLive(box, "a variable that was assigned", &failures)
    throughInout(&box, &failures)
  }
  do {
    let box = RCUBox(Place(7))
    box.lend { box in expectLive(box, "a local that is lent", &failures) }
  }
  do {
    let box = RCUBox(Place(7))
    let escaping: () -> [String] = {
      var failures: [String] = []
      expectLive(box, "captured by an escaping closure", &failures)
      return failures
    }
    failures += call(escaping)
    failures += call(escaping)
  }
  do {
    let box = RCUBox(Place(7))
    callNow { expectLive(box, "captured by a closure that does not escape", &failures) }
  }
  do {
    let holder = Holder(padding: 1, box: RCUBox(Place(7)))
    expectLive(holder.box, "a field of a struct", &failures)
    throughConsuming(holder, &failures)
  }
  do {
    let object = Object()
    expectLive(object.box, "a field of a class", &failures)
    expectLive(Generic(RCUBox(Place(7))).value, "a field of a generic class", &failures)
  }
  do {
    let optional: RCUBox<Place, Memb>? = RCUBox(Place(7))
    switch optional {
    case .some(let box): expectLive(box, "an optional", &failures)
    case .none: break
    }
    let either = Either.box(RCUBox(Place(7)))
    switch either {
    case .box(let box): expectLive(box, "a payload", &failures)
    case .number: break
    }
  }
  do {
    let pointer = UnsafeMutablePointer<RCUBox<Place, Memb>>.allocate(capacity: 1)
    pointer.initialize(to: RCUBox(Place(7)))
    expectLive(pointer.pointee, "behind a pointer", &failures)
    pointer.deinitialize(count: 1)
    pointer.deallocate()
  }
  expectLive(globalBox, "a global", &failures)
  expectLive(Object.shared, "a static", &failures)
  return failures
}

struct Place: Sendable {
  var first: Int
  var middle = [1, 2, 3]
  var last: Int

  init(_ value: Int) {
    first = value
    last = value
  }
}

/// Whether projections and a cache, created before a write through the box, see that write.
@inline(never)
private func expectLive<F: Flavor>(
  _ box: borrowing RCUBox<Place, F>, _ name: String, _ failures: inout [String]
) {
  let last = box.map(\.last)
  let count = box.map { $0.middle.count }
  var cached = box.cached()
  var cachedCount = count.cached()
  box.update {
    $0.last = 100
    $0.middle.append(4)
  }
  clobberStack()
  let isLive =
    last.read { $0 } == 100 && count.read { $0 } == 4 && cached.read { $0.last } == 100
    && cachedCount.read { $0 } == 4
  if !isLive { failures.append(name) }
  box.update { $0 = Place(7) }
}

@inline(never)
private func throughInout(_ box: inout RCUBox<Place, Memb>, _ failures: inout [String]) {
  expectLive(box, "an inout parameter", &failures)
}

@inline(never)
private func throughConsuming(_ holder: consuming Holder, _ failures: inout [String]) {
  expectLive(holder.box, "a field of a struct that was moved", &failures)
}

@inline(never)
private func call(_ body: @escaping () -> [String]) -> [String] { body() }

@inline(never)
private func callNow(_ body: () -> Void) { body() }

/// Overwrites the stack, where a wrong address could still find an old value.
@inline(never)
private func clobberStack() {
  withUnsafeTemporaryAllocation(of: Int.self, capacity: 512) { buffer in
    for index in buffer.indices { buffer[index] = 0 }
    keep(buffer.baseAddress)
  }
}

@inline(never) @_optimize(none)
private func keep(_ pointer: UnsafeMutablePointer<Int>?) {}

private struct Holder: ~Copyable {
  var padding: Int
  let box: RCUBox<Place, Memb>
}

private enum Either: ~Copyable {
  case box(RCUBox<Place, Memb>)
  case number(Int)
}

private final class Object: Sendable {
  let padding = 1
  let box = RCUBox(Place(7))
  static let shared = RCUBox(Place(7))
}

private final class Generic<Value: ~Copyable & Sendable>: Sendable {
  let value: Value

  init(_ value: consuming Value) {
    self.value = value
  }
}

private let globalBox = RCUBox(Place(7))
