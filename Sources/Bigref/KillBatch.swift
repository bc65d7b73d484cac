internal import Quiescence

/// Kills many counters with one barrier.
///
/// ```swift
/// let first = Bigref(), second = Bigref()
/// var batch = KillBatch()
/// batch.add(first)
/// batch.add(second)
/// await batch.confirm()
/// ```
///
/// Each counter stays alive until ``confirm()-swift.method`` has returned. A batch that goes without traps: its counters
/// would never be zero.
public struct KillBatch: ~Copyable, Sendable {
  private var killed: [Storage] = []

  /// An empty batch.
  public init() {}

  deinit {
    if !killed.isEmpty { fatalError("a KillBatch was dropped before it was confirmed") }
  }

  /// How many counters wait for the confirmation.
  public var count: Int { killed.count }

  /// Ends the counter's live mode. Traps when it was killed before.
  ///
  /// - Complexity: O(1) on average; no barrier.
  public mutating func add(_ counter: borrowing Bigref) {
    counter.storage.endLive()
    killed.append(counter.storage)
  }

  /// Confirms all kills and gives the owners' references back; the batch is empty again.
  ///
  /// - Complexity: O(counters × processors), and one barrier or grace period for all. Blocks as ``Bigref/kill()``.
  @available(*, noasync, message: "await confirm() instead of blocking the task's thread")
  public mutating func confirm() {
    if Memb.isInside { Misuse.waitInSection("synchronize() by KillBatch.confirm()", "Memb") }
    if Storage.needsGracePeriod { Memb.synchronize() }
    finish()
  }

  /// Confirms all kills and gives the owners' references back; suspends where the blocking form waits for a grace period.
  public mutating func confirm() async {
    if Storage.needsGracePeriod { await Memb.synchronize() }
    finish()
  }

  private mutating func finish() {
    if !Storage.needsGracePeriod && !killed.isEmpty {
      // The number after every mode.
      ProcessorCell.passBarrier(ProcessorCell.nextBarrier)
    }
    for storage in killed {
      storage.addUp()
      storage.releaseOwner()
    }
    killed = []
  }
}
