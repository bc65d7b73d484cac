import Foundation
import Testing

/// A module directory of one test.
final class ModuleFolder: Sendable {
  let directory: TemporaryDirectory
  var path: String { directory.path }

  init() throws { directory = try TemporaryDirectory() }

  /// Compiles a module that does nothing but what `facts` and the body of its `init` say.
  func add(_ name: String, _ facts: String = "", start: String = "return 0;", in folder: String = "") throws {
    let path = folder.isEmpty ? self.path : "\(self.path)/\(folder)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let source = "\(path)/\(name).c"
    try Data(
      """
      #include "quiescent_module.h"
      static const struct quiescent_host *host __attribute__((unused));
      static struct quiescent_self *self __attribute__((unused));
      \(facts)
      static int start(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h, self = s;
        \(start)
      }
      static int leave(void) { return 0; }
      QUIESCENT_MODULE(.name = "\(name)", .init = start, .exit = leave)

      """.utf8
    ).write(to: URL(fileURLWithPath: source))
    try Built.compile(source, to: "\(path)/\(name).so")
  }
}
