import ControlClient
import ControlProtocol
import ModuleFiles
import ToolSupport

extension ControlOptions {
  /// Runs `body`, and shows what keeps `modules`, when it takes long.
  func showingProgress<Result>(
    of modules: [String], while body: () throws(ControlError) -> Result
  ) throws(ControlError) -> Result {
    let path = path
    let look: @Sendable () -> String? = {
      // A connection of its own: the other one waits for its answer.
      guard let rows = try? ControlClient(path: path).lsmod() else { return "waiting for the host" }
      // Those on their way, by whatever name they were asked for; and those that were named and are
      // in use.
      let keys = Set(modules.map(ModuleName.key))
      let shown = rows.filter { row in
        row.state != "live" || keys.contains(ModuleName.key(row.module)) && !row.holders.isEmpty
      }
      let lines = shown.map { row in
        let holders = row.holders.map { $0.count == 1 ? $0.label : "\($0.label) × \($0.count)" }
        // Only one of the two: the line must fit on the terminal.
        let inUse = holders.isEmpty ? "" : ", in use: \(holders.joined(separator: ", "))"
        let inside = holders.isEmpty ? row.activity.map { ", \($0)" } ?? "" : ""
        return "\(row.module) is \(row.state)\(inUse)\(inside)"
      }
      return lines.isEmpty ? "waiting for the host" : lines.joined(separator: "; ")
    }
    return try Progress.showing(look, while: body)
  }
}
