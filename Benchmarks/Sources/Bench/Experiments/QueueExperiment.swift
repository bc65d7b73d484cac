import CPeers
import Quiescence
import QuiescentCollections
import Synchronization

/// Putting elements into queues and stacks, and taking them out.
struct QueueExperiment: Experiment {
  let name = ExperimentName.queue
  let hasPromises = true

  let notes = [
    "Each thread puts elements in and takes as many out: one by one, or 64 and then all that are there (`batch`).",
    "Wall-clock time for one element, in and out, its allocation included. Stacks without a lock free their nodes",
    "after a grace period. Every element must come out once: the sums are checked.",
  ]

  /// The largest allowed ratio to the equivalent in C, on one thread.
  private let wanted = ["WaitFreeQueue": 1.2, "LockFreeStack, Memb": 2]

  private let peers = [
    "WaitFreeQueue": "wfcqueue, C", "std::deque, mutex": "wfcqueue, C", "LockFreeStack, Memb": "lfstack, C",
    "wfstack, C": "lfstack, C", "Mutex<Array>": "lfstack, C",
  ]

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let names = Set(wanted.keys).union(wanted.keys.compactMap { peers[$0] })
    let collections = Self.collections.filter { !scale.promisedOnly || names.contains($0.name) }
    let count: UInt64 = scale.isQuick ? 6400 : 256_000
    var rows: [Row] = []
    for batch: UInt64 in [1, 64] {
      for threads in scale.promisedOnly ? [1] : machine.threadCounts {
        var rounds = [Rounds](repeating: Rounds(), count: collections.count)
        for _ in 0..<max(scale.fewRounds, min(scale.rounds, 11)) {
          for (index, collection) in collections.enumerated() {
            // Anew in each round: what the one before has retired is freed.
            try collection.prepare(batch, on: machine)
            let operations = peer_operations(entries: batch, count: count)
            rounds[index].add(try collection.time(operations, threads, machine) { $0.count })
            try collection.forget(on: machine)
          }
        }
        let measured = zip(collections, rounds).map { collection, rounds in
          Row(
            name, collection.name, threads: threads, Row.Parameter("batch", Double(batch)),
            nanoseconds: rounds.best, median: rounds.median, clock: .wall)
        }
        rows += measured.besideC(peers, wanted: threads == 1 ? wanted : [:])
      }
    }
    return rows
  }

  private static var collections: [SharedCollection] {
    [
      SharedCollection(
        "WaitFreeQueue", make: { _ in SharedValue(WaitFreeQueue<UInt64>()) },
        run: { (queue: SharedValue<WaitFreeQueue<UInt64>>, operations) in
          operations.inAndOut {
            queue.value.enqueue($0)
          } take: {
            queue.value.dequeue() ?? 0
          } takeAll: {
            var sum: UInt64 = 0
            queue.value.drain { sum &+= $0 }
            return sum
          }
        }),
      SharedCollection(
        "LockFreeStack, Memb", make: { _ in SharedValue(LockFreeStack<UInt64, Memb>()) },
        run: { (stack: SharedValue<LockFreeStack<UInt64, Memb>>, operations) in
          operations.inAndOut {
            stack.value.push($0)
          } take: {
            stack.value.pop() ?? 0
          } takeAll: {
            var sum: UInt64 = 0
            stack.value.popAll { sum &+= $0 }
            return sum
          }
        }),
      SharedCollection(
        "Mutex<Array>", make: { _ in SharedValue(Mutex<[UInt64]>([])) },
        run: { (stack: SharedValue<Mutex<[UInt64]>>, operations) in
          operations.inAndOut { element in
            stack.value.withLock { $0.append(element) }
          } take: {
            stack.value.withLock { $0.popLast() ?? 0 }
          } takeAll: {
            let elements = stack.value.withLock { elements in
              defer { elements = [] }
              return elements
            }
            return elements.reduce(0, &+)
          }
        }),
    ]
      + SharedCollection.peers(
        peer_queue_wait_free, peer_stack_lock_free, peer_stack_wait_free, peer_queue_mutex)
  }
}

extension peer_operations {
  /// Puts `entries` ones in and takes them out, until `count` were put in. Returns the sum of what
  /// came out.
  @inline(__always)
  fileprivate func inAndOut(
    put: (UInt64) -> Void, take: () -> UInt64, takeAll: () -> UInt64
  ) -> UInt64 {
    var sum: UInt64 = 0, done: UInt64 = 0
    while done < count {
      for _ in 0..<entries { put(1) }
      sum &+= entries == 1 ? take() : takeAll()
      done += entries
    }
    return sum
  }
}
