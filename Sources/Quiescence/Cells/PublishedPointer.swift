public import Synchronization

/// The pointer that readers follow to the current version, and the lock that its writers take turns
/// under.
///
/// ``RCUBox`` and ``SleepableBox`` end with this pointer, behind 40 bytes of their own that never
/// change, the first 16 of which set the alignment. Both are 64 bytes, a cache line:
///
/// | bytes of the box | what lies there | read by | written by |
/// |---|---|---|---|
/// | 0 to 39 | constants of the box, padding | | |
/// | 40 to 47 | the address of the lock, which has a cache line of its own | writers | |
/// | 48 to 55 | ``publications`` | caches | publications |
/// | 56 to 63 | ``current`` | readers | publications |
///
/// So an update writes to the line that readers load in one place alone: where it publishes. The
/// line of the two words holds no lock, whatever lies beside the box:
///
/// - The two words lie in one line: boxes are aligned to 16 bytes.
/// - The same words of a neighboring box lie 64 bytes away, in another line.
/// - The reference count of an object or array that starts with the box lies at least 56 bytes
///   before them, in another line. That is why the words are the last of the box and not the first.
@usableFromInline
struct PublishedPointer<Value: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: the value behind it is Sendable and changes by publication
  // alone.
  let turn = WriterTurn()

  /// Even between publications and odd during one; never the same number for two versions. See
  /// `publish(_:)`.
  @usableFromInline
  let publications = Atomic<UInt>(0)

  /// Never nil; the optional spares the read path a check for that.
  @usableFromInline
  let current: Atomic<UnsafeMutablePointer<Value>?>

  init(_ value: consuming Value) {
    current = Atomic(Self.allocate(value))
  }

  /// The current version, for a reader inside a section.
  @inlinable @inline(__always)
  borrowing func load() -> UnsafeMutablePointer<Value> {
    // Acquire: the version's contents were written before it was published. The pointer stays valid
    // to the end of the section, since a writer destroys a version only after a grace period.
    current.load(ordering: .acquiring).unsafelyUnwrapped
  }

  /// The current version, for a writer that has the turn: only writers change the pointer, so it
  /// needs no section.
  var latest: UnsafeMutablePointer<Value> { current.load(ordering: .relaxed).unsafelyUnwrapped }

  /// A new version, not published yet.
  static func allocate(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let pointer = Version<Value>.allocate()
    pointer.initialize(to: value)
    return pointer
  }
}

// MARK: - Writing

// Each returns the old version, which readers may still be using, or hands it to `retire`.
extension PublishedPointer where Value: ~Copyable {
  /// Publishes `value`. Runs `step` in the middle of the publication, before and after the pointer
  /// is stored.
  borrowing func exchange(
    _ value: consuming Value, step: () -> Void = {}
  ) -> UnsafeMutablePointer<Value> {
    let new = Self.allocate(value)
    turn.take()
    defer { turn.give() }
    return publish(new, step: step)
  }

  /// Publishes what `make` makes of the current version.
  borrowing func replace<Failure: Error>(
    _ make: (borrowing Value) throws(Failure) -> Value
  ) throws(Failure) -> UnsafeMutablePointer<Value> {
    turn.takeForClosure()
    defer { turn.give() }
    let new: UnsafeMutablePointer<Value>
    do throws(Failure) {
      new = Self.allocate(try make(latest.pointee))
    } catch {
      turn.closureEnded()
      throw error
    }
    turn.closureEnded()
    return publish(new)
  }

  /// Publishes `new` if `expected` is still current, and else gives it back.
  ///
  /// Under the lock and not by a compare-and-exchange of the pointer. That would lose a
  /// publication:
  ///
  /// 1. an `update` takes the lock and copies version A;
  /// 2. the compare-and-exchange replaces A by B;
  /// 3. the `update` stores its changed copy of A over B.
  borrowing func compareExchange(
    _ expected: UnsafePointer<Value>, with new: consuming Value
  ) -> Exchange {
    let expected = UnsafeMutablePointer(mutating: expected)
    // Relaxed: addresses are compared and nothing behind them is read.
    if current.load(ordering: .relaxed) != expected { return .refused(new) }
    let pointer = Self.allocate(new)
    turn.take()
    defer { turn.give() }
    if latest == expected { return .exchanged(publish(pointer)) }
    return .refused(Version.take(pointer))
  }

  enum Exchange: ~Copyable {
    /// The old version.
    case exchanged(UnsafeMutablePointer<Value>)
    /// The new value.
    case refused(Value)
  }

  /// Makes `new` the current version and returns the one before. The caller has the turn.
  @inline(__always)
  borrowing func publish(
    _ new: UnsafeMutablePointer<Value>, step: () -> Void = {}
  ) -> UnsafeMutablePointer<Value> {
    // For ``Cached``, which takes an even number to mean "the version with this number, or a later
    // one".
    //
    // Odd first. Otherwise: writer: stores the pointer; reader: reads the new version from the box;
    // the same thread's cache finds the old number, and gives the thread the old version after the
    // new one.
    //
    // Even last. Otherwise: writer: stores the number; cache: loads the new number, copies the old
    // version, and keeps it for good, since the number does not change again.
    let number = publications.load(ordering: .relaxed)
    let old = latest
    publications.store(number &+ 1, ordering: .relaxed)
    step()
    // Release: a reader that sees the pointer sees what it points to, and the odd number.
    current.store(new, ordering: .releasing)
    step()
    // Release: a cache that sees the even number sees the pointer.
    publications.store(number &+ 2, ordering: .releasing)
    return old
  }
}

extension PublishedPointer {
  /// Copies the current version, lets `change` change the copy under the lock, and publishes it.
  borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result, retire: (UnsafeMutablePointer<Value>) -> Void
  ) throws(Failure) -> Result {
    let new = Version<Value>.allocate()
    turn.takeForClosure()
    new.initialize(to: latest.pointee)
    let result: Result
    do throws(Failure) {
      result = try change(&new.pointee)
    } catch {
      turn.closureEnded()
      turn.give()
      Version.destroy(new)
      throw error
    }
    turn.closureEnded()
    let old = publish(new)
    turn.give()
    // Without the lock: a full backlog may make this writer wait for readers, and a reader may wait
    // for the lock.
    retire(old)
    return result
  }

  /// Copies the current version, lets `change` change the copy without the lock, and publishes it
  /// if the version that was copied is still current. Repeats until it is.
  borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result, retire: (UnsafeMutablePointer<Value>) -> Void
  ) throws(Failure) -> Result {
    let new = Version<Value>.allocate()
    var number = copyLatest(to: new)
    while true {
      let result: Result
      do throws(Failure) {
        result = try change(&new.pointee)
      } catch {
        Version.destroy(new)
        throw error
      }
      if publish(new, over: number, retire) { return result }
      new.deinitialize(count: 1)
      number = copyLatest(to: new)
    }
  }

  /// The same with a `change` that may suspend.
  nonisolated(nonsending) borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: nonisolated(nonsending) (inout Value) async throws(Failure) -> Result,
    retire: (UnsafeMutablePointer<Value>) -> Void
  ) async throws(Failure) -> Result {
    let new = Version<Value>.allocate()
    var number = copyLatest(to: new)
    while true {
      let result: Result
      do throws(Failure) {
        result = try await change(&new.pointee)
      } catch {
        Version.destroy(new)
        throw error
      }
      if publish(new, over: number, retire) { return result }
      new.deinitialize(count: 1)
      number = copyLatest(to: new)
    }
  }

  /// Initializes `new` as a copy of the current version, and returns the version's number.
  ///
  /// Under the lock and not in a section. A writer that waits here for an update that is under way
  /// would otherwise copy a version that is replaced a moment later; and a thread that is offline
  /// under `QSBR` has no sections.
  private borrowing func copyLatest(to new: UnsafeMutablePointer<Value>) -> UInt {
    turn.take()
    defer { turn.give() }
    new.initialize(to: latest.pointee)
    return publications.load(ordering: .relaxed)
  }

  /// Publishes `new` if the version with this number is still current.
  ///
  /// The number and not the address: no section keeps the old version's memory, so a later version
  /// may have the same address.
  private borrowing func publish(
    _ new: UnsafeMutablePointer<Value>, over number: UInt, _ retire: (UnsafeMutablePointer<Value>) -> Void
  ) -> Bool {
    turn.take()
    guard publications.load(ordering: .relaxed) == number else {
      turn.give()
      return false
    }
    let old = publish(new)
    turn.give()
    retire(old)
    return true
  }
}
