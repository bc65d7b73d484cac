internal import Glibc
public import Quiescence
public import Synchronization

/// The locks that the writers of a dictionary take: one for every sixteenth slot, each with the
/// number of its entries.
@usableFromInline
struct Stripes: @unchecked Sendable {
  // Unchecked for the pointer: what is behind it is made for several threads.
  @usableFromInline
  let stripes: UnsafeMutablePointer<Stripe>

  /// As bits of a hash, and as a number. No directory has fewer slots, so that a slot has one lock,
  /// whatever its size.
  @inlinable
  static var depth: Int { 4 }
  @inlinable
  static var count: Int { 1 << depth }

  /// On a cache line of its own.
  @usableFromInline
  struct Stripe: ~Copyable {
    @usableFromInline
    let lock = Lock()
    /// Entries. Written under the lock.
    @usableFromInline
    let count = Atomic<Int>(0)
    /// The thread that runs a closure of its own under the lock; 0 while none does.
    let closureOwner = Atomic<UInt>(0)
    /// In the first of them: how many closures of users run under any of the locks.
    let closures = Atomic<Int>(0)
    let padding = (0, 0, 0, 0)

    init() {}
  }

  @usableFromInline
  init() {
    stripes = UnsafeMutableRawPointer.allocate(
      byteCount: Self.count * MemoryLayout<Stripe>.stride, alignment: 64
    ).bindMemory(to: Stripe.self, capacity: Self.count)
    for index in 0..<Self.count { (stripes + index).initialize(to: Stripe()) }
  }

  /// For the dictionary's end: it owns the locks. A `deinit` of a noncopyable type here crashes the
  /// optimizer of Swift 6.3.
  @usableFromInline
  func free() {
    stripes.deinitialize(count: Self.count)
    stripes.deallocate()
  }

  @inlinable
  static func index(of hash: UInt) -> Int { Int(bitPattern: hash & UInt(count - 1)) }

  /// Waits for the lock. Traps inside a closure that this thread runs under any of the locks.
  @usableFromInline
  func take(_ index: Int) {
    // Relaxed: this thread alone stores its identity and counts its own closure, and undoes both
    // before it gives the lock back. So it finds them here exactly while its closure runs, whatever
    // other threads do.
    if stripes[0].closures.load(ordering: .relaxed) != 0 { checkNotInClosure() }
    stripes[index].lock.acquire()
  }

  private func checkNotInClosure() {
    let thread = UInt(pthread_self())
    for index in 0..<Self.count where stripes[index].closureOwner.load(ordering: .relaxed) == thread {
      CollectionMisuse.writeInsideUpdate()
    }
  }

  @usableFromInline
  func give(_ index: Int) { stripes[index].lock.release() }

  /// A closure of the user is about to run under the lock, which the thread has.
  @usableFromInline
  func beginClosure(_ index: Int) {
    stripes[0].closures.add(1, ordering: .relaxed)
    stripes[index].closureOwner.store(UInt(pthread_self()), ordering: .relaxed)
  }

  @usableFromInline
  func endClosure(_ index: Int) {
    stripes[index].closureOwner.store(0, ordering: .relaxed)
    stripes[0].closures.subtract(1, ordering: .relaxed)
  }

  /// All of them, in order.
  @usableFromInline
  func takeAll() { for index in 0..<Self.count { take(index) } }

  @usableFromInline
  func giveAll() { for index in 0..<Self.count { give(index) } }

  /// Under the lock.
  @inlinable
  func add(_ change: Int, _ index: Int) {
    let count = stripes[index].count.load(ordering: .relaxed)
    stripes[index].count.store(count + change, ordering: .relaxed)
  }

  /// Exact while the caller has all locks.
  @inlinable
  var total: Int {
    var total = 0
    for index in 0..<Self.count { total += stripes[index].count.load(ordering: .relaxed) }
    return total
  }
}
