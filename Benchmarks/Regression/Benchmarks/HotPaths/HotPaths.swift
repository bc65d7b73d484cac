import Benchmark
import Bigref
import ModuleManager
import Quiescence

/// One benchmark for each public hot path. It counts retains, releases and objects of a thousand
/// operations per sample. Counts are the same on every machine; times are not.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: counted, warmupIterations: 2, scalingFactor: .kilo, maxDuration: .seconds(1), maxIterations: 25,
    thresholds: tolerances)
  reads()
  writes()
  counting()
  hooks()
}

private let counted: [BenchmarkMetric] = [.retainCount, .releaseCount, .objectAllocCount]

/// The harness itself makes a few dozen retains and objects per sample. This tolerance is above
/// that, and below one per operation.
private var tolerances: [BenchmarkMetric: BenchmarkThresholds] {
  Dictionary(uniqueKeysWithValues: counted.map { ($0, BenchmarkThresholds(absolute: [.p90: 400])) })
}

/// The published value. It is nested, because a retain of an inner object would be counted.
struct Table: Sendable {
  var number: Int
  let owner: Owner
}

final class Owner: Sendable {
  let number = 3
}

/// Reads of each kind. None of them may retain, release or allocate.
private func reads() {
  let table = Table(number: 3, owner: Owner())
  let memb = RCUBox(table)
  let qsbr = RCUBox(table, flavor: QSBR.self)
  let mb = RCUBox(table, flavor: MB.self)
  let bulletproof = RCUBox(table, flavor: Bulletproof.self)

  Benchmark("read-memb") { benchmark in
    var sum = 0
    for _ in benchmark.scaledIterations { sum &+= memb.read { $0.owner.number &+ $0.number } }
    blackHole(sum)
  }
  Benchmark("read-mb") { benchmark in
    var sum = 0
    for _ in benchmark.scaledIterations { sum &+= mb.read { $0.owner.number &+ $0.number } }
    blackHole(sum)
  }
  Benchmark("read-bulletproof") { benchmark in
    var sum = 0
    for _ in benchmark.scaledIterations { sum &+= bulletproof.read { $0.owner.number &+ $0.number } }
    blackHole(sum)
  }
  Benchmark("read-qsbr") { benchmark in
    QSBR.withOnlineReader { _ in
      var sum = 0
      for _ in benchmark.scaledIterations { sum &+= qsbr.read { $0.owner.number &+ $0.number } }
      blackHole(sum)
    }
  }
  Benchmark("load-qsbr") { benchmark in
    QSBR.withOnlineReader { reader in
      var sum = 0
      for _ in benchmark.scaledIterations { sum &+= qsbr.load(reader).value.number }
      blackHole(sum)
    }
  }
  Benchmark("load-memb") { benchmark in
    var sum = 0
    for _ in benchmark.scaledIterations { sum &+= Memb.read { section in memb.load(section).value.number } }
    blackHole(sum)
  }
  Benchmark("read-projection") { benchmark in
    memb.lend { box in
      let number = box.map(\.number)
      var sum = 0
      for _ in benchmark.scaledIterations { sum &+= number.read { $0 } }
      blackHole(sum)
    }
  }
  Benchmark("read-cached") { benchmark in
    memb.lend { box in
      var number = box.map { $0.number &+ $0.owner.number }.cached()
      var sum = 0
      for _ in benchmark.scaledIterations { sum &+= number.read { $0 } }
      blackHole(sum)
    }
  }
  Benchmark("quiescent-state") { benchmark in
    QSBR.withOnlineReader { reader in
      for _ in benchmark.scaledIterations { reader.quiescentState() }
    }
  }
  // Copies the reference to the owner, with one retain and one release per operation. If these were
  // not counted, the zeroes of the other benchmarks would mean nothing.
  Benchmark("snapshot") { benchmark in
    for _ in benchmark.scaledIterations { blackHole(memb.snapshot()) }
  }
}

private func writes() {
  let box = RCUBox(3)

  // Counts only objects, fewer than one per operation: what the reclaimer's thread creates and
  // retains depends on timing.
  let objects = Benchmark.Configuration(
    metrics: [.objectAllocCount], warmupIterations: 2, scalingFactor: .kilo, maxDuration: .seconds(1),
    maxIterations: 25, thresholds: [.objectAllocCount: BenchmarkThresholds(absolute: [.p90: 900])])
  Benchmark("update", configuration: objects) { benchmark in
    for _ in benchmark.scaledIterations { box.update { $0 &+= 1 } }
  }
  Benchmark("exchange", configuration: objects) { benchmark in
    for index in benchmark.scaledIterations { box.exchange(index) }
  }
  let reclaimer = RCUReclaimer(named: "regression", Memb.self)
  Benchmark("retire-object-own-reclaimer") { benchmark in
    for _ in benchmark.scaledIterations { reclaimer.retire(Owner()) }
    reclaimer.barrier()
  }
  Benchmark("retire-object") { benchmark in
    for _ in benchmark.scaledIterations { Memb.retire(Owner()) }
    Memb.barrier()
  }
  Benchmark("retire-c-function") { benchmark in
    for _ in benchmark.scaledIterations { Memb.unsafeRetire(nil) { _ in } }
    Memb.barrier()
  }
}

private func counting() {
  let bigref = Bigref()

  Benchmark("bigref-acquire-and-release") { benchmark in
    for _ in benchmark.scaledIterations {
      bigref.acquire()
      bigref.release()
    }
  }
  let killed = Bigref()
  killed.acquire()
  killed.kill()
  Benchmark("bigref-killed") { benchmark in
    for _ in benchmark.scaledIterations where killed.tryAcquire() { killed.release() }
  }
  Benchmark("bigref-tryacquirelive-and-release") { benchmark in
    for _ in benchmark.scaledIterations where bigref.tryAcquireLive() { bigref.release() }
  }
}

private func hooks() {
  let point = HookPoint<Int, Memb>("regression", argumentType: "int.1", flavor: Memb.self)
  let online = HookPoint<Int, QSBR>("online", argumentType: "int.1", flavor: QSBR.self)
  let hook: @Sendable (inout Int) -> Verdict = { number in
    number &+= 1
    return .accept
  }
  for _ in 0..<4 {
    _ = point.register(hook)
    _ = online.register(hook)
  }

  Benchmark("hooks-dispatch-to-4") { benchmark in
    var number = 0
    for _ in benchmark.scaledIterations { blackHole(point.dispatch(&number)) }
  }
  Benchmark("hooks-dispatch-to-4-online") { benchmark in
    QSBR.withOnlineReader { reader in
      var number = 0
      for _ in benchmark.scaledIterations { blackHole(online.dispatch(&number, in: reader)) }
    }
  }
}
