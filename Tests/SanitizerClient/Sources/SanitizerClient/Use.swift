import Glibc
import Quiescence

enum Use: String, CaseIterable {
  /// A grace period between unpublishing and freeing: correct.
  case freeAfterGracePeriod = "correct-free"
  /// None: a race of the read in the section with the free.
  case freeAtOnce = "broken-free"
  /// A grace period, but the reader goes on using what it read after its section.
  case useAfterSection = "broken-use"
  /// A reader's section and its thread are over, but the writer did not wait: a thread's end is no grace period.
  case freeAfterThread = "broken-thread"
  /// What was written before a grace period is seen by sections that begin after it: correct.
  case readAfterGracePeriod = "correct-read"
  /// The same without the grace period.
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

  /// Registers the thread. Not by `inSection`, whose generic code takes locks of the Swift runtime: an order as well.
  static func register() {
    if self == QSBR.self { return QSBR.withOnlineReader { _ in } }
    unsafeEnter()
    unsafeLeave()
  }

  static func runReader(_ use: Use, _ shared: Shared) {
    switch use {
    case .readAfterGracePeriod, .readAtOnce:
      inSection {
        // Outermost and nested: the inner one's leave is no end.
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

  /// The reader that ends grace periods by quiescent states, staying online.
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
        // No grace period waits, and this is no order. Once: the sanitizer remembers only so much of a thread.
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
        // This thread registers after that one has left.
        shared.waitForReadersEnd()
        register()
      }
      old?.deallocate()
      shared.hasFreed.raise()
    }
    shared.hasUsed.wait()
  }
}
