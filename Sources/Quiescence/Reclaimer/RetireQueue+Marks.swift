extension RetireQueue {
  /// Entries from one number on and below another belong to a set. The set is held until they have
  /// run.
  struct Mark {
    let set: CallbackSet
    let start: Int
    /// `Int.max` while the thread runs callbacks of the set: see ``CallbackRun``.
    var end: Int

    func contains(_ number: Int) -> Bool { start <= number && number < end }
  }

  /// Every entry from `start` on and below `end` belongs to `set`. Under the core's lock.
  func mark(_ set: CallbackSet, from start: Int = 0, upTo end: Int) {
    if end <= shared.finished { return }
    if let index = shared.marks.firstIndex(where: { $0.set === set && $0.start == start }) {
      shared.marks[index].end = max(shared.marks[index].end, end)
    } else {
      add(Mark(set: set, start: start, end: end))
    }
  }

  /// Entries from the next one on belong to `set` until ``endOpenMarks()``. By the thread, under
  /// the core's lock.
  func openMark(_ set: CallbackSet) {
    let start = filled
    // The last run of callbacks may have been of the same set.
    if let index = shared.marks.lastIndex(where: { $0.set === set && $0.end >= start }) {
      shared.marks[index].end = .max
    } else {
      add(Mark(set: set, start: start, end: .max))
    }
  }

  /// Later entries belong to no set. Returns sets that the caller has to release. By the thread,
  /// under the core's lock.
  func endOpenMarks() -> [CallbackSet] {
    let end = filled
    for index in shared.marks.indices where shared.marks[index].end == .max {
      shared.marks[index].end = end
    }
    return takeMarks(upTo: shared.finished)
  }

  private func add(_ mark: Mark) {
    mark.set.hold(for: core)
    shared.marks.append(mark)
  }

  /// The next number above `number` that a mark begins or ends at. Under the core's lock.
  func boundary(above number: Int) -> Int? {
    shared.marks.lazy.map { $0.start > number ? $0.start : $0.end }.min()
  }

  /// The sets that an entry belongs to. Under the core's lock.
  func sets(of number: Int) -> [CallbackSet] {
    shared.marks.filter { $0.contains(number) }.map(\.set)
  }

  /// Takes the marks that end at or below `end`. The caller releases their sets. Under the core's
  /// lock.
  func takeMarks(upTo end: Int) -> [CallbackSet] {
    if shared.marks.isEmpty { return [] }
    let done = shared.marks.filter { $0.end <= end || $0.start == $0.end }.map(\.set)
    if !done.isEmpty { shared.marks.removeAll { $0.end <= end || $0.start == $0.end } }
    return done
  }
}
