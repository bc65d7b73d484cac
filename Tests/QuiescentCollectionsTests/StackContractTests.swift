import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import QuiescentCollections

/// The contracts at the top of `LockFreeStack.swift`. Each check runs on the stack, where it holds,
/// and on a broken operation, where it must fail.
@Suite(.exclusive) struct StackContractTests {
  typealias Stack = LockFreeStack<Int, Memb>

  // MARK: - A

  /// A thread that was stopped in the middle of a `pop` holds up no other thread.
  @Test func stoppedPopHoldsUpNoThread() async {
    let stack = Shared(Stack())
    for number in 0..<10 { stack.value.push(number) }
    let isHeldUp = await isHeldUp { whileHeld in
      Memb.read { _ in
        let seen = stack.value.beginPop()
        whileHeld()
        if let seen { check(!stack.value.endPop(seen)) }
      }
    } _: {
      check(stack.value.pop() == 9)
      stack.value.push(10)
      check(stack.value.pop() == 10)
      check(stack.value.popAll { _ in } == 9)
      stack.value.push(11)
    }
    #expect(!isHeldUp)
  }

  @Test func stackBehindALockIsCaught() async {
    let stack = LockedStack()
    for number in 0..<10 { stack.push(number) }
    let isHeldUp = await isHeldUp { whileHeld in
      _ = stack.pop(whileHeld)
    } _: {
      stack.push(10)
    }
    #expect(isHeldUp)
  }

  // MARK: - B

  /// Two threads take a thousand elements. Returns how many were taken twice or never.
  static func takenWrongly(_ pop: @escaping @Sendable (borrowing Stack) -> Int?) async -> Int {
    let count = 20_000
    let stack = Shared(Stack())
    let taken = (0..<count).map { _ in Counter() }
    for number in 0..<count { stack.value.push(number) }
    await onThreads(2) { index in
      Affinity.keep(index)
      while let number = pop(stack.value) { taken[number].add(1) }
    }
    return taken.filter { $0.value != 1 }.count
  }

  @Test func elementIsPoppedByOneThread() async { #expect(await Self.takenWrongly { $0.pop() } == 0) }

  @Test func popByLoadAndStoreIsCaught() async {
    let popped = Shared(Mutex<Set<UInt>>([]))
    let wrong = await Self.takenWrongly { stack in
      var nodes: [UnsafeMutablePointer<Stack.Node>] = []
      let number = stack.popByLoadAndStore(&nodes)
      popped.value.withLock { popped in for node in nodes { popped.insert(UInt(bitPattern: node)) } }
      return number
    }
    #expect(wrong > 0)
    popped.value.withLock { popped in
      for node in popped {
        guard let node = UnsafeMutableRawPointer(bitPattern: node) else { continue }
        MemoryReclaimer.reclaim(node)
      }
    }
  }

  /// What is given to a removal of all elements during which its body pushes three.
  static func poppedTogether(_ popAll: (borrowing Stack, (Int) -> Void) -> Int) -> (taken: Int, left: Int) {
    let stack = Stack()
    for number in 0..<3 { stack.push(number) }
    let taken = popAll(stack) { if $0 < 3 { stack.push($0 + 3) } }
    return (taken, stack.popAll { _ in })
  }

  @Test func popAllTakesTheElementsOfOneMoment() {
    check(Self.poppedTogether { stack, body in stack.popAll { body($0) } } == (3, 3))
  }

  @Test func popAllOneByOneIsCaught() {
    check(Self.poppedTogether { stack, body in stack.popAllOneByOne { body($0) } } == (6, 0))
  }

  // MARK: - C

  /// A `pop` is stopped between its two steps; meanwhile two elements are popped, and one is pushed
  /// by `push`, which gets the node that was on top. Returns whether the stopped `pop` then takes
  /// the top for the one that it saw.
  static func mistakesTheTop(
    _ push: (borrowing Stack, UnsafeMutablePointer<Stack.Node>) -> Void
  ) -> Bool {
    let stack = Stack()
    for number in 0..<3 { stack.push(number) }
    return Memb.read { _ in
      guard let seen = stack.beginPop() else { return false }
      check(stack.pop() == 2)
      check(stack.pop() == 1)
      push(stack, seen.top)
      let isMistaken = stack.endPop(seen)
      // The second node is on top now, which was popped: not left to the stack's end.
      if isMistaken { stack.top.store(seen.next?.pointee.next, ordering: .relaxed) }
      return isMistaken
    }
  }

  @Test func poppedNodeDoesNotComeBack() {
    // As many as an allocator would need to use the address again.
    let isMistaken = Self.mistakesTheTop { stack, _ in for number in 0..<1000 { stack.push(number) } }
    #expect(!isMistaken)
  }

  @Test func nodeThatIsPushedAgainIsCaught() {
    #expect(Self.mistakesTheTop { $0.pushAgain($1) })
  }

  // MARK: - D

  /// How many of ten elements are alive after each was taken, in an open section.
  static func aliveAfter(_ take: (borrowing LockFreeStack<Single, Memb>) -> Void) -> Int {
    let alive = Counter()
    let stack = LockFreeStack<Single, Memb>()
    for value in 0..<10 { stack.push(Single(value, alive: alive)) }
    return Memb.read { _ in
      for _ in 0..<10 { take(stack) }
      return alive.value
    }
  }

  @Test func elementIsDestroyedByTheThreadThatTakesIt() {
    #expect(Self.aliveAfter { _ = $0.pop() } == 0)
    #expect(Self.aliveAfter { $0.popAll { _ in } } == 0)
  }

  @Test func elementThatStaysInItsNodeIsCaught() {
    #expect(Self.aliveAfter { check($0.popAndKeep()) } == 10)
  }
}
