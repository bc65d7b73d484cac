import Glibc
import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import QuiescentCollections

/// Threads insert, remove, replace, look up and iterate while the table grows and shrinks.
@Suite(.exclusive) struct DictionaryTortureTests {
  /// What is published: its key, its writer and number, and whether it was destroyed.
  final class Element: Sendable {
    let key: Int
    let owner: Int
    let generation: Int
    let alive: Counter
    /// Cleared by the destructor: what a reader finds is set.
    let mark: Atomic<UInt>

    init(key: Int, owner: Int, generation: Int, alive: Counter) {
      self.key = key
      self.owner = owner
      self.generation = generation
      self.alive = alive
      mark = Atomic(Self.mark(key, owner, generation))
      alive.add(1)
    }

    deinit {
      mark.store(0, ordering: .relaxed)
      alive.add(-1)
    }

    static func mark(_ key: Int, _ owner: Int, _ generation: Int) -> UInt {
      UInt(bitPattern: key &* 31 &+ owner &* 7 &+ generation) | 1
    }

    /// Whether it is whole, and the one that belongs to `key`.
    func isRight(for key: Int) -> Bool {
      self.key == key && mark.load(ordering: .relaxed) == Self.mark(key, owner, generation)
    }
  }

  struct Failures: Sendable {
    let wrong = Counter()
    let older = Counter()
    let missing = Counter()
    let twice = Counter()
  }

  /// Two writers, each with keys of its own, and two readers.
  ///
  /// Of a writer's keys the first ones are always there, replaced by newer generations only; the
  /// others come and go.
  static func run<F: Flavor>(_: F.Type, rounds: Int) async -> (
    failures: Failures, reads: Int, alive: Int, resizes: Int
  ) {
    let failures = Failures()
    let alive = Counter()
    let reads = Counter()
    let resizes = Counter()
    let writersLeft = Counter(2)
    let lasting = 32
    let passing = 1500
    do {
      let table = Shared(RCUDictionary<Int, Element, F>())
      for owner in 0..<2 {
        for number in 0..<lasting {
          let key = number * 2 + owner
          table.value[key] = Element(key: key, owner: owner, generation: 0, alive: alive)
        }
      }
      await onThreads(4) { index in
        var random = Random(seed: UInt64(index) + 1)
        if index < 2 {
          for round in 1...rounds {
            let before = F.whereItMayRead { table.value.capacity }
            for number in 0..<passing {
              let key = (lasting + number) * 2 + index
              table.value[key] = Element(key: key, owner: index, generation: round, alive: alive)
              if number % 16 == 0 {
                let key = Int(random.next() % UInt64(lasting)) * 2 + index
                table.value.update(key) { old in
                  old = Element(key: key, owner: index, generation: old.generation + 1, alive: alive)
                }
              }
            }
            if F.whereItMayRead({ table.value.capacity }) != before { resizes.add(1) }
            for number in 0..<passing {
              let key = (lasting + number) * 2 + index
              let old = table.value.removeValue(forKey: key)
              if old?.generation != round || old?.isRight(for: key) != true { failures.wrong.add(1) }
            }
          }
          writersLeft.add(-1)
        } else {
          var newest = [Int](repeating: 0, count: lasting * 2)
          while writersLeft.value > 0 {
            F.whereItMayRead {
              // Those that last are always there, and never get older.
              for _ in 0..<64 {
                let key = Int(random.next() % UInt64(lasting * 2))
                F.read { section in
                  guard let found = table.value.load(key, section) else {
                    failures.missing.add(1)
                    return
                  }
                  if !found.value.isRight(for: key) { failures.wrong.add(1) }
                  if found.value.generation < newest[key] { failures.older.add(1) }
                  newest[key] = max(newest[key], found.value.generation)
                }
                let passed = Int(random.next() % UInt64(2 * passing)) + 2 * lasting
                table.value.read(passed) { if !$0.isRight(for: passed) { failures.wrong.add(1) } }
              }
              // Each of them once in an iteration.
              var seen = [UInt8](repeating: 0, count: lasting * 2)
              var others = Set<Int>()
              table.value.forEach { key, element in
                if !element.isRight(for: key) { failures.wrong.add(1) }
                if key < lasting * 2 {
                  seen[key] += 1
                } else if !others.insert(copy key).inserted {
                  failures.twice.add(1)
                }
              }
              for count in seen where count != 1 { (count == 0 ? failures.missing : failures.twice).add(1) }
            }
            reads.add(1)
          }
        }
      }
      // By hand: the threads may release the table later than this.
      table.value.removeAll()
    }
    await F.barrier()
    return (failures, reads.value, alive.value, resizes.value)
  }

  @Test(arguments: FlavorCase.all) func everyElementIsRightWhileTheTableIsResized(_ flavor: FlavorCase) async
  {
    func run<F: Flavor>(_: F.Type) async {
      let result = await Self.run(F.self, rounds: 6)
      #expect(result.failures.wrong.value == 0)
      #expect(result.failures.older.value == 0)
      #expect(result.failures.missing.value == 0)
      #expect(result.failures.twice.value == 0)
      #expect(result.alive == 0)
      // Not vacuous.
      #expect(result.reads > 0 && result.resizes > 0)
    }
    await run(flavor.type)
  }

  /// Of threads that insert one key unless it is present one does, and of those that remove it one
  /// gets it.
  @Test func keyIsInsertedAndRemovedByOneThread() async {
    let rounds = 3000
    let table = Shared(RCUDictionary<Int, Int, Memb>())
    let inserted = Counter()
    let removed = Counter()
    let different = Counter()
    let turns = (Counter(), Counter(), Counter())
    await onThreads(2) { index in
      func meet(_ turn: Counter, _ round: Int) {
        turn.add(1)
        while turn.value < 2 * (round + 1) { letOthersRun() }
      }
      for round in 0..<rounds {
        meet(turns.0, round)
        let (isMine, value) = table.value.insert(index, forKey: round % 7)
        if isMine { inserted.add(1) }
        if table.value[round % 7] != value { different.add(1) }
        meet(turns.1, round)
        if table.value.removeValue(forKey: round % 7) != nil { removed.add(1) }
        meet(turns.2, round)
      }
    }
    #expect(inserted.value == rounds && removed.value == rounds && different.value == 0)
  }

  /// No update is lost.
  @Test func updatesOfOneKeyTakeTurns() async {
    let table = Shared(RCUDictionary<Int, Int, Memb>())
    await onThreads(4) { _ in for _ in 0..<5000 { table.value.update(1, default: 0) { $0 += 1 } } }
    check(table.value[1] == 20_000)
  }
}

extension Flavor {
  /// Runs `body` where a thread may open sections of this flavor, outside of any.
  static func whereItMayRead<Result>(_ body: () -> Result) -> Result {
    if self == QSBR.self { return QSBR.withOnlineReader { _ in body() } }
    return body()
  }
}

/// Lets other threads run, while one waits for them.
func letOthersRun() { sched_yield() }
