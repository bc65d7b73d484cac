import Foundation
import ModuleManager
import TestSupport
import Testing

/// A module is found under its own name, in which `-` and `_` are equal.
@Suite struct ManagerNameTests {
  let folder = ModuleFolder()
  let manager = ModuleManager()

  /// Compiles a module called `name` to the file `file`.
  private func add(_ file: String, called name: String) async {
    let path = folder.path
    await onThread {
      _ = Compiler.module(
        """
        #include "quiescent_module.h"
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h; (void)s; return 0; }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """, in: URL(filePath: path), named: file)
    }
  }

  @Test func everyCallTakesEitherSpelling() async throws {
    await add("rate-limit", called: "rate_limit")
    try manager.setDirectory(folder.path)
    for (load, unload) in [("rate-limit", "rate_limit"), ("rate_limit", "rate-limit")] {
      #expect(try await manager.request(load).map(\.name) == ["rate_limit"])
      #expect(try await manager.request(unload).map(\.name) == ["rate_limit"])
      #expect(try manager.plan(for: unload).map(\.isLoaded) == [true])
      #expect(try await manager.parameters(of: unload).isEmpty)
      let error = await moduleError { try await manager.load(BuiltInModule("rate-limit") { _ in 0 }) }
      #expect(error?.errno == EEXIST)
      try await manager.unload(unload)
      #expect(manager.list().isEmpty)
    }
    try await manager.load(path: "\(folder.path)/rate-limit.so")
    #expect(try await manager.unload(together: ["rate-limit"], ifBusy: .fail).count == 1)
    #expect(manager.list().isEmpty)
  }

  @Test func requestForAFileOfAnotherModuleIsRefusedWithBothNames() async throws {
    await add("bar", called: "foo")
    try manager.setDirectory(folder.path)
    let error = await moduleError { try await manager.request("bar") }
    #expect(
      error?.description
        == "\(folder.path)/bar.so: its module is called 'foo', and its file 'bar': they must be the same (ENOEXEC)"
    )
    #expect(manager.list().isEmpty && !isMapped("\(folder.path)/bar.so"))
    #expect(await moduleError { try await manager.request("foo") }?.errno == ENOENT)
  }
}
