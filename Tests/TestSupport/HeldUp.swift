import Glibc
internal import Quiescence

/// Whether a thread of this process waits in the kernel, and not just now: a hundred looks in a
/// row.
package func sleeps(_ thread: Int) -> Bool {
  (0..<100).allSatisfy { _ in
    guard let file = fopen("/proc/self/task/\(thread)/stat", "r") else { return false }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return false }
    usleep(50)
    return String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).contains(") S ")
  }
}

/// Whether `body` waits for what another thread holds.
///
/// `hold` runs on a thread of its own: it takes something, calls its argument, and gives it back.
/// Meanwhile `body` runs on a second thread. The result is false when `body` finishes while the
/// first thread holds, and true when the second thread falls asleep.
package func isHeldUp(
  by hold: @escaping @Sendable (_ whileHeld: () -> Void) -> Void, _ body: @escaping @Sendable () -> Void
) async -> Bool {
  let isHeld = Parker()
  let thread = Counter(), finished = Counter(), slept = Counter()
  await onThreads(2) { index in
    if index == 0 {
      hold {
        isHeld.open()
        while thread.value == 0 { sched_yield() }
        while finished.value == 0 {
          if sleeps(thread.value), finished.value == 0 {
            slept.add(1)
            break
          }
        }
      }
    } else {
      isHeld.wait()
      thread.add(Int(ServiceThread.currentID))
      body()
      finished.add(1)
    }
  }
  return slept.value > 0
}
