internal import Glibc

extension ModuleIndex {
  /// What has to be loaded for `name`, in order, itself included: everything that it depends on,
  /// directly or not, and what is wanted before and after it.
  ///
  /// - Complexity: O(modules and dependencies that it leads to), and O(aliases) for each soft
  ///   dependency that is no module's name.
  /// - Throws: `ENOENT` for a module that is not in the index, naming the module that depends on
  ///   it; `ELOOP` for a cycle, spelled out. A soft dependency that is missing, or would close a
  ///   cycle, is left out.
  public func order(for name: String) throws(ModuleFileError) -> [Entry] {
    guard let entry = entry(name) else { throw ModuleFileError(name, ENOENT, "no such module in \(place)") }
    var walk = Walk(index: self)
    try walk.visit(entry, isSoft: false)
    return walk.order
  }

  /// Those of ``order(for:)`` that it cannot do without.
  package func required(for name: String) -> [String] {
    var names: [String] = []
    var open = [name]
    while let name = open.popLast() {
      guard let entry = entry(name), !names.contains(entry.name) else { continue }
      names.append(entry.name)
      open += entry.depends
    }
    return names
  }

  /// The modules that depend on `name` directly.
  public func dependents(of name: String) -> [Entry] {
    let key = ModuleName.key(name)
    return entries.filter { $0.depends.contains { ModuleName.key($0) == key } }
  }

  /// Each dependency that is not in the index (`ENOENT`), and each cycle once, spelled out
  /// (`ELOOP`).
  ///
  /// - Complexity: O(modules and dependencies).
  public var problems: [ModuleFileError] {
    var survey = Survey(index: self)
    for entry in entries { survey.visit(entry) }
    return survey.problems
  }

  /// Throws when any module cannot be loaded for a missing dependency or a cycle.
  public func check() throws(ModuleFileError) {
    for entry in entries { _ = try order(for: entry.name) }
  }

  private func isMissing(_ name: String, for entry: Entry) -> ModuleFileError {
    ModuleFileError(entry.name, ENOENT, "depends on \(name), which is not in \(place)")
  }

  private static func isCycle(_ names: [String]) -> ModuleFileError {
    ModuleFileError(names[0], ELOOP, "depends on itself: \(names.joined(separator: " → "))")
  }

  /// Visits each module once; a step back to one that is being visited closes a cycle.
  private struct Survey {
    let index: ModuleIndex
    var problems: [ModuleFileError] = []
    private var done: Set<String> = []
    private var path: [String] = []

    init(index: ModuleIndex) { self.index = index }

    mutating func visit(_ entry: Entry) {
      if done.contains(entry.name) { return }
      path.append(entry.name)
      for name in entry.depends {
        guard let next = index.entry(name) else {
          problems.append(index.isMissing(name, for: entry))
          continue
        }
        if let start = path.firstIndex(of: next.name) {
          problems.append(isCycle(path[start...] + [next.name]))
        } else {
          visit(next)
        }
      }
      path.removeLast()
      done.insert(entry.name)
    }
  }

  private struct Walk {
    let index: ModuleIndex
    var order: [Entry] = []
    private var done: Set<String> = []
    /// From the one that was asked for to the one that is looked at.
    private var path: [String] = []

    init(index: ModuleIndex) { self.index = index }

    mutating func visit(_ entry: Entry, isSoft: Bool) throws(ModuleFileError) {
      if done.contains(entry.name) { return }
      if let start = path.firstIndex(of: entry.name) {
        if isSoft { return }
        throw isCycle(path[start...] + [entry.name])
      }
      path.append(entry.name)
      for name in entry.softBefore { visitSoft(name) }
      for name in entry.depends {
        guard let next = index.entry(name) else {
          throw index.isMissing(name, for: entry)
        }
        try visit(next, isSoft: false)
      }
      path.removeLast()
      done.insert(entry.name)
      order.append(entry)
      for name in entry.softAfter { visitSoft(name) }
    }

    /// Each module that the name or alias means; one that cannot be had, as if it had never been
    /// tried.
    private mutating func visitSoft(_ name: String) {
      for entry in index.matches(name) {
        var attempt = self
        do { try attempt.visit(entry, isSoft: true) } catch { continue }
        self = attempt
      }
    }
  }
}
