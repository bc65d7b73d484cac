import Glibc
import Quiescence

enum Use: String, CaseIterable {
  /// Correct: a grace period between unpublishing and freeing.
  case freeAfterGracePeriod = "correct-free"
  /// Broken: no grace period, so the read in the section races with the free.
  case freeAtOnce = "broken-free"
  /// Broken: a grace period, but the reader uses what it has read after its section.
  case useAfterSection = "broken-use"
  /// Broken: the reader's section and thread have ended, but the writer did not wait. The end of a
  /// thread is not a grace period.
  case freeAfterThread = "broken-thread"
  /// Correct: sections that begin after a grace period see what was written before it.
  case readAfterGracePeriod = "correct-read"
  /// Broken: the same without the grace period.
  case readAtOnce = "broken-read"
}

extension Flavor {
  static func inSection(_ body: () -> Void) {
    if self == QSBR.self {
      QSBR.withOnlineReader { _ in body() }
    } else {
      read { _ in body() }
    }
  }

  /// Registers the thread. Not by `inSection`: its generic code takes locks of the Swift runtime,
  /// which would order the threads.
  static func register() {
    if self == QSBR.self { return QSBR.withOnlineReader { _ in } }
    unsafeLeave(unsafeEnter())
  }

  static func runReader(_ use: Use, _ shared: Shared) {
    switch use {
    case .readAfterGracePeriod, .readAtOnce:
      inSection {
        // Outermost and nested: leaving the inner section must not end the outer one.
        read { _ in }
        shared.hasRead.raise()
      }
      shared.isWritten.wait()
      inSection { precondition(shared.number.pointee == 2) }
    case .useAfterSection:
      if self == QSBR.self { return runOnlineReader(use, shared) }
      var table: UnsafeMutablePointer<Int>?
      inSection { table = shared.published }
      shared.hasRead.raise()
      shared.mayUse.wait()
      precondition(table?.pointee == 1)
    case .freeAfterGracePeriod, .freeAtOnce, .freeAfterThread:
      if self == QSBR.self && use != .freeAfterThread { return runOnlineReader(use, shared) }
      inSection {
        read { _ in }
        precondition(shared.published?.pointee == 1)
        shared.hasRead.raise()
      }
    }
    shared.hasUsed.raise()
  }

  /// The reader that ends grace periods by quiescent states while it stays online.
  static func runOnlineReader(_ use: Use, _ shared: Shared) {
    QSBR.withOnlineReader { reader in
      let table = shared.published
      if use != .useAfterSection { precondition(table?.pointee == 1) }
      shared.hasRead.raise()
      switch use {
      case .freeAfterGracePeriod:
        shared.hasUsed.raise()
        while !shared.hasFreed.isRaised { pause(&reader) }
      case .useAfterSection:
        while !shared.mayUse.isRaised { pause(&reader) }
        precondition(table?.pointee == 1)
        shared.hasUsed.raise()
      default:
        // No grace period waits, so this orders nothing. Only once: the sanitizer remembers a
        // limited history per thread.
        reader.quiescentState()
        shared.hasUsed.raise()
      }
    }
  }

  private static func pause(_ reader: inout OnlineReader) {
    reader.quiescentState()
    sched_yield()
  }

  static func runWriter(_ use: Use, _ shared: Shared) {
    shared.hasRead.wait()
    switch use {
    case .readAfterGracePeriod, .readAtOnce:
      shared.number.pointee = 2
      if use == .readAfterGracePeriod { synchronize() }
      shared.isWritten.raise()
    case .freeAfterGracePeriod, .freeAtOnce, .useAfterSection, .freeAfterThread:
      let old = shared.unpublish()
      if use == .freeAfterGracePeriod || use == .useAfterSection { synchronize() }
      shared.mayUse.raise()
      shared.hasUsed.wait()
      if use == .freeAfterThread {
        // This thread registers after the reader has unregistered.
        shared.waitForReadersEnd()
        register()
      }
      old?.deallocate()
      shared.hasFreed.raise()
    }
    shared.hasUsed.wait()
  }
}
