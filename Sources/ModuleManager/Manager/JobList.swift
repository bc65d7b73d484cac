/// Jobs, first in, first out.
struct JobList {
  private var jobs: [ModuleQueue.Job?] = []
  private var first = 0

  var isEmpty: Bool { first == jobs.count }

  mutating func append(_ job: @escaping ModuleQueue.Job) { jobs.append(job) }

  mutating func popFirst() -> ModuleQueue.Job? {
    if first == jobs.count { return nil }
    let job = jobs[first].take()
    first += 1
    if first == jobs.count {
      jobs.removeAll(keepingCapacity: first < 64)
      first = 0
    } else if first >= 1024 && first * 2 >= jobs.count {
      // A list that is never empty does not grow with what was taken from it.
      jobs.removeFirst(first)
      first = 0
    }
    return job
  }
}
