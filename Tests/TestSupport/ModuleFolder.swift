import Foundation

/// A folder of modules, removed at the end.
package final class ModuleFolder: Sendable {
  package let path: String

  package init() { path = Compiler.temporaryFolder().path }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Compiles a module that says this about itself.
  @discardableResult
  package func add(_ name: String, _ facts: String = "", in subfolder: String = "") async -> String {
    let folder = URL(filePath: path).appending(path: subfolder)
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return await onThread {
      Compiler.module(
        """
        #include "quiescent_module.h"
        \(facts)
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h; (void)s; return 0; }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """, in: folder, named: name)
    }
  }

  package func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path).appending(path: name))
  }
}

/// Whether the file, or a manager's copy of it, is among the mappings of this process.
package func isMapped(_ path: String) -> Bool {
  guard let maps = fopen("/proc/self/maps", "re") else { return true }
  defer { fclose(maps) }
  // The folder without its links, as the kernel has it; the file may be gone.
  let url = URL(filePath: path)
  let name = url.deletingLastPathComponent().resolvingSymlinksInPath().appending(path: url.lastPathComponent)
    .path
  var line: UnsafeMutablePointer<CChar>?
  var capacity = 0
  defer { free(line) }
  while getline(&line, &capacity, maps) > 0 {
    guard let line else { continue }
    let text = String(cString: line)
    if text.hasSuffix(" \(name)\n") || text.hasSuffix(" /memfd:\(name) (deleted)\n") { return true }
  }
  return false
}
