internal import Quiescence

/// The deferred calls and the timers of one module, by the time when they are due. Guarded by its
/// owner's lock.
struct CallSchedule {
  typealias Job = ModuleQueue.Job

  private struct Entry {
    let due: UInt64
    let job: Job
    /// Nil for a call that is made once.
    var timer: (id: Int64, period: UInt64)?
  }

  /// Calls without a delay, in order.
  private var ready = JobList()
  /// The others; the next one is the last.
  private var delayed: [Entry] = []
  private var lastTimer: Int64 = 0
  /// A full queue does not keep timers from running, nor a fast timer the queue.
  private var isTurnOfReady = false
  /// Calls that wait, and timers.
  private(set) var count = 0

  enum Next {
    case job(Job)
    /// Nanoseconds.
    case after(UInt64)
    case never
    /// It is over.
    case none
  }

  mutating func add(_ job: @escaping Job, after delay: UInt64) {
    count += 1
    if delay == 0 { return ready.append(job) }
    insert(Entry(due: Self.time(after: delay), job: job))
  }

  mutating func addTimer(_ job: @escaping Job, _ period: UInt64) -> Int64 {
    count += 1
    lastTimer += 1
    insert(Entry(due: Self.time(after: period), job: job, timer: (lastTimer, period)))
    return lastTimer
  }

  mutating func removeTimer(_ id: Int64) -> Bool {
    guard let index = delayed.firstIndex(where: { $0.timer?.id == id }) else { return false }
    delayed.remove(at: index)
    count -= 1
    return true
  }

  /// Takes the next call that is due out; a timer stays in, for its next time.
  mutating func takeNext() -> Next {
    let now = MonotonicClock.nanoseconds
    if let entry = delayed.last, entry.due <= now, !isTurnOfReady || ready.isEmpty {
      isTurnOfReady = true
      delayed.removeLast()
      if let timer = entry.timer {
        let missed = (now - entry.due) / timer.period
        insert(Entry(due: entry.due + (missed + 1) * timer.period, job: entry.job, timer: timer))
      } else {
        count -= 1
      }
      return .job(entry.job)
    }
    isTurnOfReady = false
    if let job = ready.popFirst() {
      count -= 1
      return .job(job)
    }
    return delayed.last.map { .after($0.due - now) } ?? .never
  }

  /// Drops timers, and makes all calls due now, in the order of their times.
  mutating func makeAllDue() {
    for entry in delayed.reversed() where entry.timer == nil { ready.append(entry.job) }
    count -= delayed.count { $0.timer != nil }
    delayed = []
  }

  /// Behind those of the same time.
  private mutating func insert(_ entry: Entry) {
    var (low, high) = (0, delayed.count)
    while low < high {
      let middle = (low + high) / 2
      if delayed[middle].due > entry.due { low = middle + 1 } else { high = middle }
    }
    delayed.insert(entry, at: low)
  }

  private static func time(after delay: UInt64) -> UInt64 {
    let (time, overflow) = MonotonicClock.nanoseconds.addingReportingOverflow(delay)
    return overflow ? .max : time
  }
}
