import Foundation
import Testing

extension EndToEndTests {
  /// Parameters, from the command line.
  @Suite struct Parameters {
    private func folder() throws -> ModuleFolder {
      let folder = try ModuleFolder()
      try folder.add(
        "drop",
        """
        static int limit = 64;
        static char label[8] = "first";
        QUIESCENT_PARAMETER(limit, int, "Shorter datagrams go", .minimum = 1, .maximum = 1500, .flags = QUIESCENT_WRITABLE);
        QUIESCENT_PARAMETER(label, string, "A name");
        """)
      try folder.add("user", #"QUIESCENT_DEPENDS("drop");"#)
      return folder
    }

    @Test func parametersAreGivenShownAndChanged() async throws {
      try await onThread {
        let folder = try folder()
        let host = try TestHost(modules: folder.path)
        let info = try Child(Built.quiesce, ["modinfo", "-F", "parm", "\(folder.path)/drop.so"]).wait()
        #expect(info.output == "limit:Shorter datagrams go (int)\nlabel:A name (string)\n")
        try host.expectSuccess(of: "insmod", "drop", "limit=5", "label=a=b")
        #expect(try host.run("set", "drop").output == "limit=5  (int, writable)\nlabel=a=b  (string)\n")
        #expect(
          try host.run("set", "drop", "--format", "json").output
            == #"[{"parameter":"limit","type":"int","value":"5","writable":true},"#
            + #"{"parameter":"label","type":"string","value":"a=b","writable":false}]"# + "\n")
        try host.expectSuccess(of: "set", "drop", "limit=1500")
        try host.expectRefusal(
          "quiesce: set: drop: limit: 1501 is not from 1 to 1500 (ERANGE)", from: "set", "drop", "limit=1501")
        try host.expectRefusal(
          "quiesce: set: drop: label: cannot be changed while the module is loaded (EPERM)",
          from: "set", "drop", "label=x")
        try host.expectRefusal(
          "quiesce: set: drop: has no parameter 'x'; it has limit, label (ENOENT)", from: "set", "drop", "x=1"
        )
        try host.expectRefusal(
          "quiesce: set: nosuch: no such module is loaded (ENOENT)", from: "set", "nosuch")
        #expect(try host.run("set", "drop").output.hasPrefix("limit=1500 "))
        try host.expectRefusal(
          "quiesce: modprobe: drop: is loaded already; its parameters can be set one by one (EEXIST)",
          from: "modprobe", "drop", "limit=7")
        try host.expectSuccess(of: "rmmod", "drop")

        for word in ["limit=", "limit=x", "limit=0", "nosuch=1", "label=12345678"] {
          let outcome = try host.run("insmod", "drop", word)
          #expect(outcome.status == 1 && outcome.error.hasPrefix("quiesce: insmod: drop: "))
          #expect(outcome.error.split(separator: "\n").count == 1)
          #expect(try host.modules().isEmpty)
        }
        #expect(try host.run("modprobe", "drop", "limit=9", "user").output == "drop: loaded\nuser: loaded\n")
        #expect(try host.run("set", "drop").output.hasPrefix("limit=9 "))
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func usageErrors() async throws {
      try await onThread {
        for arguments in [
          ["set"], ["set", "a", "b"], ["set", "a", "=1"], ["set", "a", "x=1", "x=2"], ["insmod", "a", "b"],
          ["modprobe", "x=1"], ["modprobe", "a", "x=1", "x=1"], ["modprobe", "-r", "a", "x=1"],
        ] {
          let outcome = try Child(Built.quiesce, arguments).wait()
          #expect(outcome.status == 64, "\(arguments)")
        }
      }
    }
  }
}
