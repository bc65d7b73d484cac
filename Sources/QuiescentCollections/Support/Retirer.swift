public import Quiescence

/// What a collection retires goes through here: to the flavor's shared reclaimer, or to one of
/// choice.
@usableFromInline
struct Retirer<F: Flavor>: Sendable {
  @usableFromInline
  let reclaimer: RCUReclaimer?

  @inlinable
  init(_ reclaimer: RCUReclaimer?) {
    if let reclaimer, !reclaimer.waits(for: F.self) { CollectionMisuse.otherFlavor("\(F.self)") }
    self.reclaimer = reclaimer
  }

  /// Has `type` reclaim what is at `pointer` after a grace period. May wait where the reclaimer is
  /// full: the caller holds no lock.
  @inlinable @inline(__always)
  func retire(_ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type) {
    if let reclaimer { reclaimer.unsafeRetire(pointer, by: type) } else { F.unsafeRetire(pointer, by: type) }
  }

  /// As `retire`; where the reclaimer is full, the task suspends, whatever the policy.
  @inlinable
  nonisolated(nonsending) func retireSuspending(
    _ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type
  ) async {
    await (reclaimer ?? F.reclaimer).unsafeRetireSuspending(pointer, by: type)
  }
}

/// Deinitializes and deallocates a value that has its memory for itself.
@usableFromInline
enum ValueReclaimer<Value: ~Copyable>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let pointer = argument.assumingMemoryBound(to: Value.self)
    pointer.deinitialize(count: 1)
    pointer.deallocate()
  }
}

/// Gives memory back that holds nothing any more.
@usableFromInline
enum MemoryReclaimer: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) { argument.deallocate() }
}
