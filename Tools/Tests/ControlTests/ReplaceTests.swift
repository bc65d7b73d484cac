import ControlClient
import Foundation
import Testing

extension EndToEndTests {
  /// Another version in the place of a module, from the command line.
  @Suite struct Replacing {
    private func folder() throws -> ModuleFolder {
      let folder = try ModuleFolder()
      for (version, subfolder) in [("1", ""), ("2", "2")] {
        try folder.add(
          "filter",
          """
          static int limit = 64;
          QUIESCENT_PARAMETER(limit, int, "A number", .maximum = 1500, .flags = QUIESCENT_WRITABLE);
          static long look(void *context, char *buffer, size_t capacity, uint64_t offset) {
            (void)context;
            if (offset > 0 || capacity == 0) return 0;
            buffer[0] = '\(version)';
            return 1;
          }
          """,
          start: #"return host->publish(self, "filter", look, 0);"#, in: subfolder)
      }
      try folder.add("failing", start: "return 0;")
      try folder.add("failing", start: "return -12;", in: "2")
      return folder
    }

    @Test func moduleIsReplacedAndKeepsItsParameters() async throws {
      try await onThread {
        let folder = try folder()
        let host = try TestHost(modules: folder.path)
        try host.expectSuccess(of: "insmod", "filter", "limit=100")
        #expect(try host.run("cat", "filter").output == "1")
        let outcome = try host.run("replace", "filter", "\(folder.path)/2/filter.so")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        #expect(outcome.output.hasPrefix("filter: replaced, the old version unloaded in "))
        #expect(try host.run("cat", "filter").output == "2")
        #expect(try host.run("set", "filter").output.hasPrefix("limit=100 "))
        // By name, from the host's module directory.
        try host.expectSuccess(of: "replace", "filter", "filter", "limit=7")
        #expect(try host.run("cat", "filter").output == "1")
        #expect(try host.run("set", "filter").output.hasPrefix("limit=7 "))
        #expect(try host.modules() == ["filter": "live"])
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func heldVersionIsNamedWithItsHolders() async throws {
      try await onThread {
        let folder = try folder()
        let host = try TestHost(modules: folder.path)
        try host.expectSuccess(of: "insmod", "filter")
        let client = try ControlClient(path: host.control)
        let object = try client.open("filter")
        let outcome = try host.run("replace", "filter", "\(folder.path)/2/filter.so")
        #expect(outcome.status == 0)
        #expect(
          outcome.output.hasPrefix("filter: replaced; the old version is still there: in use: "),
          "\(outcome.output)")
        #expect(try client.lsmod().map(\.state) == ["going", "live"])
        #expect(String(decoding: try client.read(object, from: 0), as: UTF8.self) == "1")
        #expect(try host.run("cat", "filter").output == "2")
        // With --wait it ends with the holder.
        let second = try client.open("filter")
        let waiting = try host.start(["replace", "filter", "filter", "--wait", "600"])
        while try client.lsmod().count < 3 { usleep(1000) }
        try client.close(second)
        #expect(try waiting.wait().output.hasPrefix("filter: replaced, the old version unloaded in "))
        try client.close(object)
        while try client.lsmod().count > 1 { usleep(1000) }
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func refusalsLeaveTheOldVersion() async throws {
      try await onThread {
        let folder = try folder()
        let host = try TestHost(modules: folder.path)
        try host.expectSuccess(of: "insmod", "filter")
        try host.expectSuccess(of: "insmod", "failing")
        try host.expectRefusal(
          "quiesce: replace: failing: its init failed (ENOMEM)",
          from: "replace", "failing", "\(folder.path)/2/failing.so")
        try host.expectRefusal(
          "quiesce: replace: \(folder.path)/filter.so: its module is called 'filter', and cannot replace "
            + "'failing' (ENOEXEC)", from: "replace", "failing", "filter")
        try host.expectRefusal(
          "quiesce: replace: nosuch: no such module is loaded (ENOENT)", from: "replace", "nosuch", "filter")
        let value = try host.run("replace", "filter", "filter", "limit=2000")
        #expect(value.status == 1 && value.error.contains("limit: 2000 is not from "))
        #expect(try host.modules() == ["filter": "live", "failing": "live"])
        for arguments in [
          ["replace"], ["replace", "a"], ["replace", "a", "b", "c"], ["replace", "a", "b", "--wait", "-1"],
        ] {
          #expect(try Child(Built.quiesce, arguments).wait().status == 64, "\(arguments)")
        }
        #expect(try host.terminate().status == 0)
      }
    }
  }
}
