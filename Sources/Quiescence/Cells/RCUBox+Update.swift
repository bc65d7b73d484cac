extension RCUBox {
  /// Copies the current version, lets `change` change the copy, and publishes it.
  ///
  /// Nothing is published when `change` throws. Updates take turns; none is lost. `change` runs once, under
  /// the box's lock: nobody replaces the version meanwhile. It must neither write to the same box, which
  /// traps, nor wait for a grace period: a writer inside a section may be waiting for the lock. Boxes that are
  /// updated inside each other's closures must always nest the same way. For everything else there is
  /// ``updateRetrying(_:)-(_)``.
  ///
  /// - Complexity: a copy of the value, one allocation, the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let new = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    turn.takeForClosure()
    // Only writers change the pointer, and this one has their turn: no section needed.
    new.initialize(to: current.load(ordering: .relaxed).unsafelyUnwrapped.pointee)
    let result: Result
    do throws(Failure) {
      result = try change(&new.pointee)
    } catch {
      turn.closureEnded()
      turn.give()
      Self.discard(new)
      throw error
    }
    turn.closureEnded()
    let old = publish(new)
    turn.give()
    // Without the lock: a full backlog may make the caller wait for readers, and a reader for the lock.
    Self.retire(old)
    return result
  }

  /// Copies the current version, lets `change` change the copy without holding the lock, and publishes it if
  /// nobody else has published meanwhile; else does it again with the newer version.
  ///
  /// `change` may run several times, and everything but its last run is thrown away. It may take long, wait
  /// for a grace period, and read or write other boxes and this one; when it writes to this box each time, it
  /// never ends. Nothing is published when it throws. Of the writers that meet, one gets through each time, but
  /// a long `change` among quick writers may run often.
  ///
  /// - Complexity: one allocation; for each run a copy of the value, and the box's lock twice, for the copy
  ///   and to publish. Does not wait for readers, but for the closure of an ``update(_:)`` that is under way.
  /// - Threads: any, also inside a section.
  public borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let new = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    var number = copyCurrent(to: new)
    while true {
      let result: Result
      do throws(Failure) {
        result = try change(&new.pointee)
      } catch {
        Self.discard(new)
        throw error
      }
      if publish(new, over: number) { return result }
      new.deinitialize(count: 1)
      number = copyCurrent(to: new)
    }
  }

  /// ``updateRetrying(_:)-(_)`` with a `change` that may suspend.
  ///
  /// - Complexity: as without `async`.
  public nonisolated(nonsending) borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: nonisolated(nonsending) (inout Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let new = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    var number = copyCurrent(to: new)
    while true {
      let result: Result
      do throws(Failure) {
        result = try await change(&new.pointee)
      } catch {
        Self.discard(new)
        throw error
      }
      if publish(new, over: number) { return result }
      new.deinitialize(count: 1)
      number = copyCurrent(to: new)
    }
  }

  /// Copies the current version to uninitialized memory and returns its number.
  ///
  /// Under the lock rather than in a section: whoever waits here for an update under way would have copied a
  /// version that is replaced in a moment, and a thread that is offline under `QSBR` has no sections.
  private borrowing func copyCurrent(to new: UnsafeMutablePointer<Value>) -> UInt {
    turn.take()
    defer { turn.give() }
    new.initialize(to: current.load(ordering: .relaxed).unsafelyUnwrapped.pointee)
    return publications.load(ordering: .relaxed)
  }

  /// Publishes `new` if the version with this number is still current.
  ///
  /// The number and not the address: no section holds the old version's memory, and a later version may have
  /// got the same address.
  private borrowing func publish(_ new: UnsafeMutablePointer<Value>, over number: UInt) -> Bool {
    turn.take()
    guard publications.load(ordering: .relaxed) == number else {
      turn.give()
      return false
    }
    let old = publish(new)
    turn.give()
    Self.retire(old)
    return true
  }
}
