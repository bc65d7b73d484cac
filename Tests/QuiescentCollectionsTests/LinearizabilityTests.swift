import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import QuiescentCollections

/// Contract B: for every short history of concurrent calls there is an order of them that a
/// dictionary without concurrency could have taken, in which no call comes before one that had
/// returned when it began.
///
/// The search goes through all orders: Jeannette Wing and Chun Gong, "Testing and Verifying
/// Concurrent Objects", 1993.
@Suite(.exclusive) struct LinearizabilityTests {
  struct Call: Sendable, CustomStringConvertible {
    enum Operation: Sendable { case insert(Int), put(Int), remove, look }
    let operation: Operation
    let key: Int
    /// What it returned: the old value, or for an insertion the one that is there then.
    var result: Int?
    var begin = 0
    var end = 0
    var description: String { "\(begin)-\(end) \(operation) of \(key): \(result.map(String.init) ?? "nil")" }

    /// Whether a dictionary would have returned that; makes the change.
    func isRight(for table: inout [Int?]) -> Bool {
      let old = table[key]
      switch operation {
      case .insert(let value):
        if old == nil { table[key] = value }
        return result == table[key]
      case .put(let value):
        table[key] = value
        return result == old
      case .remove:
        table[key] = nil
        return result == old
      case .look: return result == old
      }
    }
  }

  /// Whether there is an order.
  static func isLinearizable(_ calls: [Call], keys: Int) -> Bool {
    func search(_ left: UInt32, _ table: [Int?]) -> Bool {
      if left == 0 { return true }
      var firstEnd = Int.max
      for index in calls.indices where left & 1 << UInt32(index) != 0 {
        firstEnd = min(firstEnd, calls[index].end)
      }
      for index in calls.indices where left & 1 << UInt32(index) != 0 && calls[index].begin <= firstEnd {
        var next = table
        if calls[index].isRight(for: &next), search(left & ~(1 << UInt32(index)), next) { return true }
      }
      return false
    }
    return search(UInt32((1 << calls.count) - 1), [Int?](repeating: nil, count: keys))
  }

  /// Keys with one hash, whose entries are in the same buckets.
  struct Key: Hashable, Sendable {
    let number: Int
    func hash(into hasher: inout Hasher) {}
  }

  /// Runs random calls of three threads, and returns the first history without an order.
  static func search(
    rounds: Int, put: @escaping @Sendable (borrowing RCUDictionary<Key, Int, Memb>, Int, Int) -> Int?
  ) async -> [Call]? {
    let threads = 3, length = 4, keys = 2
    let clock = Counter()
    let ready = Counter(), done = Counter()
    let table = Shared(RCUDictionary<Key, Int, Memb>())
    let histories = Shared(Mutex([[Call]](repeating: [], count: threads)))
    let wrong = Shared(Mutex<[Call]?>(nil))
    await onThreads(threads) { thread in
      Affinity.keep(thread)
      var random = Random(seed: UInt64(thread) + 77)
      for round in 0..<rounds {
        ready.add(1)
        while ready.value < threads * (round + 1) { letOthersRun() }
        var calls: [Call] = []
        for step in 0..<length {
          let key = Int(random.next() % UInt64(keys))
          let value = round * 100 + thread * 10 + step
          let operation: Call.Operation =
            switch random.next() % 4 {
            case 0: .insert(value)
            case 1: .put(value)
            case 2: .remove
            default: .look
            }
          var call = Call(operation: operation, key: key)
          call.begin = clock.add(1)
          switch operation {
          case .insert: call.result = table.value.insert(value, forKey: Key(number: key)).valueAfterInsert
          case .put: call.result = put(table.value, key, value)
          case .remove: call.result = table.value.removeValue(forKey: Key(number: key))
          case .look: call.result = table.value[Key(number: key)]
          }
          call.end = clock.add(1)
          calls.append(call)
        }
        histories.value.withLock { $0[thread] = calls }
        if done.add(1) == threads * (round + 1) {
          // The last one judges, while the others wait at `ready` for it.
          let history = histories.value.withLock { $0.flatMap { $0 } }
          if !isLinearizable(history, keys: keys) { wrong.value.withLock { if $0 == nil { $0 = history } } }
          table.value.removeAll()
        }
      }
    }
    return wrong.value.withLock { $0 }
  }

  @Test func everyHistoryHasAnOrder() async {
    let wrong = await Self.search(rounds: 3000) { table, key, value in
      table.updateValue(value, forKey: Key(number: key))
    }
    #expect(wrong == nil, "\(wrong ?? [])")
  }

  /// A replacement in two steps: another thread sees the key gone, or gets between.
  @Test func twoStepReplacementIsNotLinearizable() async {
    let wrong = await Self.search(rounds: 3000) { table, key, value in
      let old = table.removeValue(forKey: Key(number: key))
      letOthersRun()
      table.updateValue(value, forKey: Key(number: key))
      return old
    }
    #expect(wrong != nil)
  }

  @Test func searchRejectsHistoriesWithoutAnOrder() {
    let look = Call(operation: .look, key: 0, result: nil, begin: 3, end: 4)
    let put = Call(operation: .put(1), key: 0, result: nil, begin: 1, end: 2)
    #expect(!Self.isLinearizable([put, look], keys: 1))
    #expect(
      Self.isLinearizable([put, Call(operation: .look, key: 0, result: nil, begin: 1, end: 4)], keys: 1))
    #expect(Self.isLinearizable([put, Call(operation: .look, key: 0, result: 1, begin: 3, end: 4)], keys: 1))
  }
}

extension LinearizabilityTests.Call: Equatable {
  static func == (left: Self, right: Self) -> Bool { left.description == right.description }
}
