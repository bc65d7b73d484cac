import Glibc
import ProcessEdges
import Quiescence
import Synchronization
import TestSupport
import Testing

/// Signals reach the host's threads alone, and their handlers may read.
@Suite(.exclusive, .serialized) struct SignalTests {
  /// Where the signal of an instruction that fails is blocked, the kernel ends the process without
  /// calling the host's handler.
  @Test func libraryThreadsBlockEverySignalButThoseOfFailingInstructions() async throws {
    let own = RCUReclaimer(named: "rcu-signals", Memb.self)
    own.retire {}
    await own.barrier()
    for flavor in FlavorCase.all {
      await flavor.type.synchronize()
      await flavor.type.barrier()
    }
    var seen: Set<String> = []
    for id in try tasks() {
      guard let name = text("/proc/self/task/\(id)/comm")?.dropLast() else { continue }
      guard name.hasPrefix("rcu-") || name.hasPrefix("gp-") else { continue }
      guard let status = text("/proc/self/task/\(id)/status") else { continue }
      let blocked = try #require(
        status.split(separator: "\n").first { $0.hasPrefix("SigBlk:") }?.split(separator: "\t").last)
      let mask = try #require(UInt64(blocked, radix: 16))
      // Also SIGKILL and SIGSTOP, which no thread can block, and the two that glibc keeps for
      // itself.
      let open: [Int32] = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGKILL, SIGSTOP, 32, 33]
      let expected = ~open.reduce(0 as UInt64) { $0 | 1 << UInt64($1 - 1) }
      #expect(mask == expected, "\(name) differs in \(String(mask ^ expected, radix: 16))")
      seen.insert(String(name))
    }
    #expect(
      seen.isSuperset(of: [
        "rcu-memb", "rcu-qsbr", "rcu-mb", "rcu-bp", "gp-memb", "rcu-stalls", "rcu-signals",
      ]))
  }

  /// A handler that reads, wherever it meets the thread: in a section, while it enters one, or
  /// outside.
  @Test(arguments: FlavorCase.anywhere)
  func handlersMayRead(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type, _ handler: @escaping @convention(c) (Int32) -> Void) async -> Bool {
      let before = Handled.count.load(ordering: .relaxed)
      let done = Counter()
      let thread = Shared(Locked<pthread_t?>(nil))
      signal(SIGUSR2, handler)
      await onThreads(3) { index in
        switch index {
        case 0:
          // What the handler calls has been called before: the Swift runtime's first times take
          // locks.
          Handled.read(F.self)
          var own = sigset_t()
          sigemptyset(&own)
          sigaddset(&own, SIGUSR2)
          // The tests' threads are service threads, which block it.
          pthread_sigmask(SIG_UNBLOCK, &own, nil)
          thread.value.withLock { $0 = pthread_self() }
          while Handled.count.load(ordering: .relaxed) - before < 200 {
            F.read { _ in F.read { _ in } }
          }
          done.add(1)
        case 1:
          while done.value == 0 {
            thread.value.withLock { thread in if let thread { pthread_kill(thread, SIGUSR2) } }
            Processor.yield()
          }
        default: while done.value == 0 { F.synchronize() }
        }
      }
      signal(SIGUSR2, SIG_IGN)
      await F.synchronize()
      return Handled.wrong.load(ordering: .relaxed) == 0
    }
    // C functions capture nothing, so each names its flavor.
    if flavor.type == Memb.self { #expect(await run(Memb.self) { _ in Handled.read(Memb.self) }) }
    if flavor.type == MB.self { #expect(await run(MB.self) { _ in Handled.read(MB.self) }) }
    if flavor.type == Bulletproof.self {
      #expect(await run(Bulletproof.self) { _ in Handled.read(Bulletproof.self) })
    }
  }

  /// A handler may be the first of its thread to read, also when it interrupts the thread's own
  /// first read: one of them registers the thread, and the other one finds it registered.
  @Test func handlersMayBeTheFirstToRead() async {
    let done = Counter()
    let newcomer = Shared(Locked<pthread_t?>(nil))
    Handled.read(Memb.self)
    signal(SIGUSR2) { _ in Handled.read(Memb.self) }
    await onThreads(2) { index in
      if index == 1 {
        while done.value == 0 {
          // Once for each: a thread that takes the lock all the time would keep the newcomers from
          // it.
          newcomer.value.withLock { thread in if let thread = thread.take() { pthread_kill(thread, SIGUSR2) }
          }
          Processor.yield()
        }
        return
      }
      for _ in 0..<20_000 {
        let gone = Parker()
        let error = ServiceThread.start(named: "newcomer") {
          var own = sigset_t()
          sigemptyset(&own)
          sigaddset(&own, SIGUSR2)
          pthread_sigmask(SIG_UNBLOCK, &own, nil)
          newcomer.value.withLock { $0 = pthread_self() }
          // About as long as the signal takes to come.
          var left = Int.random(in: 0..<4000)
          while left > 0 { left -= 1 }
          Memb.read { _ in }
          newcomer.value.withLock { $0 = nil }
          gone.open()
        }
        precondition(error == 0)
        gone.wait()
      }
      done.add(1)
    }
    signal(SIGUSR2, SIG_IGN)
    await Memb.synchronize()
    #expect(Handled.wrong.load(ordering: .relaxed) == 0)
  }

  /// The handler interrupts malloc, and the thread has no room left for the values of keys:
  /// whatever allocates waits for a lock that the thread has.
  @Test func firstReadUnderBulletproofInAHandlerDoesNotAllocate() async {
    await #expect(processExitsWith: .success) {
      await onThread {
        use_up_keys(40)
        // The Swift runtime's first times take locks.
        Handled.read(Bulletproof.self)
        let stuck = call_from_handlers({ Handled.read(Bulletproof.self) }, 500)
        if stuck >= 0 { fatalError("thread \(stuck) never left its handler") }
        Bulletproof.synchronize()
        if Bulletproof.registeredReaders > 1 { fatalError("readers are left of threads that ended") }
      }
    }
  }

  /// Under the other flavors once the thread is registered.
  @Test func handlersMayReadOnARegisteredThread() async {
    await #expect(processExitsWith: .success) {
      await onThread {
        use_up_keys(40)
        for flavor in FlavorCase.all { flavor.type.registerThread() }
        for flavor in FlavorCase.all { precondition(flavor.type.registeredReaders == 1) }
        for flavor in FlavorCase.all { flavor.type.registerThread() }
        for flavor in FlavorCase.all {
          precondition(!flavor.type.isInside && flavor.type.registeredReaders == 1)
        }
        signal(SIGUSR1) { _ in
          Handled.read(Memb.self)
          Handled.read(MB.self)
        }
        // The tests' threads are service threads, which block it.
        var own = sigset_t()
        sigemptyset(&own)
        sigaddset(&own, SIGUSR1)
        pthread_sigmask(SIG_UNBLOCK, &own, nil)
        raise(SIGUSR1)
        precondition(Handled.count.load(ordering: .relaxed) == 2)
      }
    }
  }

  private enum Handled {
    static let count = Atomic<Int>(0)
    static let wrong = Atomic<Int>(0)

    static func read<F: Flavor>(_: F.Type) {
      let wasInside = F.isInside
      F.read { _ in if !F.isInside { wrong.add(1, ordering: .relaxed) } }
      if F.isInside != wasInside { wrong.add(1, ordering: .relaxed) }
      count.add(1, ordering: .relaxed)
    }
  }

  private func tasks() throws -> [String] {
    let directory = try #require(opendir("/proc/self/task"))
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if Int(name) != nil { names.append(name) }
    }
    return names
  }

  /// Nil when the thread has ended meanwhile.
  private func text(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}
