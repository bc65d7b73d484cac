import ControlProtocol

/// The tables that `lsmod` prints.
struct ModuleTable {
  /// The header, and a line for each module; columns as wide as their widest entry.
  let lines: [String]

  init(_ modules: [ModuleRow]) {
    self.init(
      ["Module", "State", "Size", "Users", "Used by", "Age"], numeric: [2, 3, 5], modules.map(Self.cells))
  }

  init(_ unloaded: [UnloadedRow]) {
    self.init(
      ["Module", "Version", "End", "Ago", "Path"], numeric: [3],
      unloaded.map { row in
        let (version, path) = (row.version ?? "-", row.path.isEmpty ? "-" : row.path)
        return [row.module, version, row.end, Self.age(row.ageSeconds), path].map(\.onOneLine)
      })
  }

  private init(_ header: [String], numeric: Set<Int>, _ rows: [[String]]) {
    let rows = [header] + rows
    let widths = header.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    lines = rows.map { row in
      let cells = row.indices.map { row[$0].padded(to: widths[$0], right: numeric.contains($0)) }
      let line = cells.joined(separator: "  ")
      return String(line[..<(line.lastIndex { $0 != " " }.map(line.index(after:)) ?? line.startIndex)])
    }
  }

  private static func cells(of module: ModuleRow) -> [String] {
    let holders = module.holders.map { $0.count == 1 ? $0.label : "\($0.label) × \($0.count)" }
    return [
      module.module, module.state + (module.activity.map { " (\($0))" } ?? ""), String(module.size),
      String(module.users),
      holders.isEmpty ? "-" : holders.joined(separator: ", "), age(module.ageSeconds),
    ].map(\.onOneLine)
  }

  /// At the most two units: `0.4s`, `59.9s`, `3m07s`, `2h05m`, `4d03h`.
  static func age(_ seconds: Double) -> String {
    let tenths = Int(min(max(seconds, 0), 1e15) * 10)
    if tenths < 600 { return "\(tenths / 10).\(tenths % 10)s" }
    let whole = tenths / 10
    if whole < 3600 { return "\(whole / 60)m\(twoDigits(whole % 60))s" }
    if whole < 86_400 { return "\(whole / 3600)h\(twoDigits(whole / 60 % 60))m" }
    return "\(whole / 86_400)d\(twoDigits(whole / 3600 % 24))h"
  }

  private static func twoDigits(_ number: Int) -> String {
    number < 10 ? "0\(number)" : String(number)
  }
}

extension String {
  fileprivate func padded(to width: Int, right: Bool) -> String {
    let space = String(repeating: " ", count: max(0, width - count))
    return right ? space + self : self + space
  }
}
