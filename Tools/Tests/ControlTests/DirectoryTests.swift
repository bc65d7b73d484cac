import Foundation
import Testing

extension EndToEndTests {
  /// `depmod` and `modinfo`: no host is needed.
  @Suite struct Directory {
    private func run(_ arguments: String...) throws -> Child.Outcome {
      try Child(Built.quiesce, arguments).wait()
    }

    @Test func depmodWritesWhatModinfoReads() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        try folder.add("base")
        try folder.add(
          "net-flow",
          #"QUIESCENT_DEPENDS("base"); QUIESCENT_ALIAS("flow-*"); QUIESCENT_INFO("author", "N. N.");"#,
          in: "net")
        let preview = try run("depmod", "--dry-run", folder.path)
        #expect(preview.status == 0 && preview.error.isEmpty)
        #expect(preview.output.hasPrefix("quiescence-module-index 1\nmodule base "))
        #expect(preview.output.hasSuffix("depends base\nalias flow-*\nend 2\n"))
        #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/modules.index"))

        let written = try run("depmod", folder.path)
        #expect(written.status == 0 && written.output.isEmpty && written.error.isEmpty)
        #expect(try folder.directory.read("modules.index") == preview.output)

        let shown = try run("modinfo", "net_flow", "--directory", folder.path)
        // What follows depends on the linker.
        #expect(
          shown.output.hasPrefix(
            """
            filename:       \(folder.path)/net/net-flow.so
            depends:        base
            alias:          flow-*
            author:         N. N.
            abi:            1

            """))
        let field = try run("modinfo", "-F", "filename", "flow-7", "base", "--directory", folder.path)
        #expect(field.output == "\(folder.path)/net/net-flow.so\n\(folder.path)/base.so\n")
        let json = try run("modinfo", "--format", "json", "\(folder.path)/net/net-flow.so")
        #expect(
          json.output.hasPrefix(#"[{"filename":"\#(folder.path)/net/net-flow.so","image":{"abi":["1"],"#))
        #expect(
          json.output.hasSuffix(
            #""info":{"alias":["flow-*"],"author":["N. N."],"depends":["base"]},"name":"net-flow"}]"# + "\n"))
        let gap = try run("modinfo", "nothing", "base", "-F", "filename", "--directory", folder.path)
        #expect(gap.status == 1 && gap.output == "\(folder.path)/base.so\n")
        #expect(
          gap.error
            == "quiesce: modinfo: nothing: no module in \(folder.path) has that name or an alias for it (ENOENT)\n"
        )
      }
    }

    @Test func depmodNamesEveryProblemOnce() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        try folder.add("one", #"QUIESCENT_DEPENDS("two");"#)
        try folder.add("two", #"QUIESCENT_DEPENDS("one");"#)
        try folder.add("user", #"QUIESCENT_DEPENDS("two,absent");"#)
        try folder.directory.write("no module\n", to: "text.so")
        let outcome = try run("depmod", folder.path)
        #expect(outcome.status == 1 && outcome.output.isEmpty)
        #expect(
          outcome.error == """
            quiesce: depmod: \(folder.path)/text.so: not an ELF file (ENOEXEC)
            quiesce: depmod: one: depends on itself: one → two → one (ELOOP)
            quiesce: depmod: user: depends on absent, which is not in \(folder.path) (ENOENT)

            """)
        #expect(try folder.directory.read("modules.index").hasSuffix("end 3\n"))
      }
    }

    /// The broken files of ``Built`` are named, and the other files are found.
    @Test func brokenFilesDoNotSpoilADirectory() async throws {
      try await onThread {
        let directory = try Built.modules.get()
        let outcome = try run("depmod", "--dry-run", directory)
        #expect(outcome.status == 1)
        for name in ["text", "empty", "stump", "half"] {
          #expect(outcome.error.contains("quiesce: depmod: \(directory)/\(name).so: "))
        }
        // The modules of the first two are called counter and foo; that of the third has a name
        // with a slash.
        for (name, reason) in [
          ("twin", "counter"), ("bar", "foo"), ("badname", "its name is not made of"),
        ] {
          let line = outcome.error.split(separator: "\n").first { $0.contains("/\(name).so: ") }
          #expect(line?.contains(reason) == true)
        }
        #expect(outcome.error.split(separator: "\n").count == 7)
        for name in ["counter", "conntrack", "holdable"] {
          #expect(outcome.output.contains("module \(name) "))
        }
        #expect(try run("modinfo", "-F", "filename", "counter", "--directory", directory).status == 0)
      }
    }

    /// `KILLS=1000` for a long run.
    @Test func killedDepmodLeavesASoundIndex() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        for name in ["one", "two", "three"] { try folder.add(name) }
        #expect(try run("depmod", folder.path).status == 0)
        let whole = try folder.directory.read("modules.index")
        // How long one takes that is not killed.
        let start = ContinuousClock.now
        #expect(try run("depmod", folder.path).status == 0)
        let duration = Int(start.duration(to: .now) / .microseconds(1))
        let count = ProcessInfo.processInfo.environment["KILLS"].flatMap { Int($0) } ?? 100
        var killed = 0
        for round in 0..<count {
          let child = try Child(Built.quiesce, ["depmod", folder.path])
          // All moments alike, the last ones too.
          usleep(UInt32(duration * (round % 50) / 40))
          child.signal(SIGKILL)
          if try child.wait().status != 0 { killed += 1 }
          #expect(try folder.directory.read("modules.index") == whole)
        }
        #expect(killed > 0)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
          !$0.hasSuffix(".c")
        }
        let known: Set = [
          "one.so", "two.so", "three.so", "modules.index", "modules.index.new", "modules.lock",
        ]
        #expect(Set(files).isSubset(of: known), "\(files)")
        // No lock is held: another one gets through.
        #expect(try run("depmod", folder.path).status == 0)
        let left = FileManager.default.fileExists(atPath: "\(folder.path)/modules.index.new")
        #expect(!left)
      }
    }

    @Test func missingDirectoryIsOneLine() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        try folder.directory.write("garbage\n", to: "modules.index")
        let cases = [
          (["depmod", "/nothing"], "quiesce: depmod: /nothing: no such module directory (ENOENT)"),
          (["depmod", "/etc/passwd"], "quiesce: depmod: /etc/passwd: not a directory (ENOTDIR)"),
          (
            ["modinfo", "a", "--directory", "/nothing"], "quiesce: modinfo: /nothing: cannot be read (ENOENT)"
          ),
          (["modinfo", "/nothing.so"], "quiesce: modinfo: /nothing.so: no such file (ENOENT)"),
          (["modinfo", "./"], "quiesce: modinfo: ./: is a directory (EISDIR)"),
          (
            ["modinfo", "a", "--directory", folder.path],
            "quiesce: modinfo: \(folder.path)/modules.index: line 1: not the index of modules of this version; "
              + "run quiesce depmod \(folder.path) (EBADMSG)"
          ),
        ]
        for (arguments, line) in cases {
          let outcome = try Child(Built.quiesce, arguments).wait()
          #expect(outcome.status == 1 && outcome.error == line + "\n" && outcome.output.isEmpty, "\(outcome)")
        }
        // depmod mends a damaged index.
        #expect(try run("depmod", folder.path).status == 0)
        #expect(try folder.directory.read("modules.index") == "quiescence-module-index 1\nend 0\n")
      }
    }
  }
}
