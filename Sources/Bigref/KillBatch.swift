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
/// Keep each counter until `confirm()` has returned. Destroying a batch that was not
/// confirmed traps: its counters would never reach zero.
public struct KillBatch: ~Copyable, Sendable {
  private var killed: [Storage] = []

  /// Creates an empty batch.
  public init() {}

  deinit {
    if !killed.isEmpty { Misuse.destroyedUnconfirmedBatch() }
  }

  /// The number of counters that have not been confirmed.
  public var count: Int { killed.count }

  /// Ends the counter's live mode. Traps if the counter was killed before.
  ///
  /// - Complexity: O(1) on average; no barrier.
  public mutating func add(_ counter: borrowing Bigref) {
    counter.storage.endLive()
    killed.append(counter.storage)
  }

  /// Confirms all kills and releases the owners' references. The batch is empty afterwards.
  ///
  /// - Complexity: O(counters × processors), and one barrier or grace period for all. Blocks like
  ///   `Bigref.kill()`.
  @available(*, noasync, message: "await confirm() instead of blocking the task's thread")
  public mutating func confirm() {
    if Memb.isInside { Misuse.waitInSection("KillBatch.confirm()") }
    if Storage.needsGracePeriod { Memb.synchronize() }
    finish()
  }

  /// Confirms all kills and releases the owners' references. Suspends where the blocking form waits
  /// for a grace period.
  public mutating func confirm() async {
    if Storage.needsGracePeriod { await Memb.synchronize() }
    finish()
  }

  private mutating func finish() {
    if !Storage.needsGracePeriod && !killed.isEmpty {
      // Taken after the last counter's mode was stored: this barrier serves every counter of the
      // batch.
      ProcessorCell.passBarrier(ProcessorCell.nextBarrier)
    }
    for storage in killed {
      storage.addUp()
      storage.releaseOwner()
    }
    killed = []
  }
}
