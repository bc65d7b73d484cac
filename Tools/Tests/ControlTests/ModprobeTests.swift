import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

extension EndToEndTests {
  /// `modprobe`, and `rmmod` of what others need or use.
  @Suite struct Modprobe {
    /// `top` needs `middle`, which needs `base`.
    private func tower() throws -> ModuleFolder {
      let folder = try ModuleFolder()
      try folder.add("base")
      try folder.add("middle", #"QUIESCENT_DEPENDS("base");"#)
      try folder.add("top", #"QUIESCENT_DEPENDS("middle"); QUIESCENT_ALIAS("tower-*");"#)
      return folder
    }

    @Test func dependenciesAreLoadedAndUnloadedWithTheModule() async throws {
      try await onThread {
        let folder = try tower()
        let host = try TestHost(modules: folder.path)
        let plan = """
          insmod \(folder.path)/base.so
          insmod \(folder.path)/middle.so
          insmod \(folder.path)/top.so

          """
        #expect(try host.run("modprobe", "--dry-run", "tower-7").output == plan)
        #expect(try host.modules().isEmpty)
        #expect(try host.run("modprobe", "middle").output == "base: loaded\nmiddle: loaded\n")
        let rest = try host.run("modprobe", "-n", "top")
        #expect(rest.output == "insmod \(folder.path)/top.so\n")
        #expect(try host.run("modprobe", "tower-7").output == "top: loaded\n")
        #expect(try host.run("modprobe", "--show-depends", "top").output == plan)
        #expect(try host.run("modprobe", "top").output == "")
        try host.expectRefusal(
          "quiesce: modprobe: top: is loaded already (EEXIST)", from: "modprobe", "--first-time", "top")

        try host.expectRefusal(
          "quiesce: rmmod: base: needed by middle (EWOULDBLOCK)", from: "rmmod", "base")
        try host.expectRefusal(
          "quiesce: rmmod: base: needed by middle (EWOULDBLOCK)", from: "rmmod", "base", "--wait")
        try host.expectRefusal(
          "quiesce: modprobe: middle: needed by top (EWOULDBLOCK)", from: "modprobe", "-r", "-n", "middle")
        #expect(try host.run("lsmod").output.contains("  module middle  "))
        let rows = try ControlClient(path: host.control).lsmod()
        #expect(rows.map(\.dependsOn) == [[], ["base"], ["middle"]])
        #expect(rows.map(\.dependents) == [["middle"], ["top"], []])

        // Asked for itself, `middle` stays.
        #expect(try host.run("modprobe", "-r", "-n", "top").output == "rmmod top\n")
        #expect(try host.run("modprobe", "-r", "top").output == "top: unloaded\n")
        #expect(try host.run("modprobe", "-r", "-n", "middle").output == "rmmod middle\nrmmod base\n")
        #expect(try host.run("modprobe", "-r", "middle").output == "middle: unloaded\nbase: unloaded\n")
        #expect(try host.modules().isEmpty)
        try host.expectSuccess(of: "modprobe", "-r", "middle")
        try host.expectRefusal(
          "quiesce: modprobe: middle: no such module is loaded (ENOENT)",
          from: "modprobe", "-r", "--first-time", "middle")
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func severalModulesAreUnloadedTogether() async throws {
      try await onThread {
        let folder = try tower()
        try folder.add("other")
        let host = try TestHost(modules: folder.path)
        #expect(try host.run("modprobe", "top", "other").status == 0)
        let some = try host.run("rmmod", "base", "other", "nosuch")
        #expect(some.status == 1 && some.output.hasPrefix("other: unloaded in "), "\(some)")
        #expect(
          some.error.split(separator: "\n").sorted() == [
            "quiesce: rmmod: base: needed by middle (EWOULDBLOCK)",
            "quiesce: rmmod: nosuch: no such module is loaded (ENOENT)",
          ])
        // What stands behind `--wait` is a module when it is no number.
        let all = try host.run("rmmod", "--wait", "base", "top", "middle")
        #expect(all.status == 0 && all.error.isEmpty)
        #expect(
          all.output.split(separator: "\n").map { $0.prefix { $0 != ":" } } == ["top", "middle", "base"])
        #expect(try host.run("rmmod", "--wait", "5").error.contains("Name a module."))
        #expect(try host.terminate().status == 0)
      }
    }

    /// On a terminal, which `script` provides, a line names the holders that it waits for; it is
    /// taken back at the end. Elsewhere there is none.
    @Test func longWaitsAreShownOnATerminal() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "conntrack")
        let holder = try host.start(["cat", "--hold", "conntrack"])
        try eventually("it is held") { try host.run("lsmod").output.contains("holds object conntrack") }
        let plain = try host.run("rmmod", "--wait", "1.6", "conntrack")
        #expect(plain.error.hasSuffix("(ETIMEDOUT)\n") && plain.error.split(separator: "\n").count == 1)
        let command = "\(Built.quiesce) rmmod --control \(host.control) --wait 1.6 conntrack"
        let shown = try Child("script", ["-qec", command, "/dev/null"]).wait()
        let line = "conntrack is going, in use: client \(holder.process) holds object conntrack (1 s)"
        #expect(shown.output.contains("\r\u{1b}[K\(line)"), "\(shown)")
        #expect(shown.output.contains("\r\u{1b}[Kquiesce: rmmod: conntrack: waited 1.6 seconds"), "\(shown)")
        #expect(shown.status == 1)
        // People are told what to do next; programs, above, get the one line.
        #expect(shown.output.contains("It serves on. `quiesce trace` shows the references"), "\(shown)")
        let busy = "\(Built.quiesce) rmmod --control \(host.control) conntrack"
        let refused = try Child("script", ["-qec", busy, "/dev/null"]).wait()
        #expect(
          refused.output.contains("(EBUSY)\r\n  --wait takes no new users and waits for these;"), "\(refused)"
        )
        holder.endInput()
        #expect(try holder.wait().status == 0)
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func failuresAreNamedAndTheRestIsDone() async throws {
      try await onThread {
        let folder = try tower()
        try folder.add("round", #"QUIESCENT_DEPENDS("round");"#)
        try folder.add("gap", #"QUIESCENT_DEPENDS("absent");"#)
        try folder.add("failing", start: "return -28;")
        try folder.add("user", #"QUIESCENT_DEPENDS("failing");"#)
        let host = try TestHost(modules: folder.path)
        let outcome = try host.run("modprobe", "nosuch", "round", "base", "gap", "user", "a/b", "")
        #expect(outcome.status == 1 && outcome.output == "base: loaded\n")
        let unknown = "no module in \(folder.path) has that name or an alias for it (ENOENT)"
        #expect(
          outcome.error == """
            quiesce: modprobe: nosuch: \(unknown)
            quiesce: modprobe: round: depends on itself: round → round (ELOOP)
            quiesce: modprobe: gap: depends on absent, which is not in \(folder.path) (ENOENT)
            quiesce: modprobe: user: needs failing: its init failed (ENOSPC)
            quiesce: modprobe: a/b: \(unknown)
            quiesce: modprobe: : \(unknown)

            """)
        let quiet = try host.run("modprobe", "-q", "nosuch", "round")
        #expect(quiet.status == 1)
        #expect(quiet.error == "quiesce: modprobe: round: depends on itself: round → round (ELOOP)\n")
        #expect(try host.modules() == ["base": "live"])

        // A module that is built while the host runs is found.
        try folder.add("late")
        #expect(try host.run("modprobe", "late").output == "late: loaded\n")
        #expect(try host.run("modprobe", "top").output == "middle: loaded\ntop: loaded\n")
        // What others need waits for them.
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func damagedIndexIsOneLine() async throws {
      try await onThread {
        let folder = try tower()
        try folder.directory.write("garbage", to: "modules.index")
        let host = try TestHost(modules: folder.path)
        let damaged = try host.run("modprobe", "top")
        #expect(damaged.error.hasPrefix("quiesce: modprobe: \(folder.path)/modules.index: line 1: "))
        #expect(damaged.error.hasSuffix("; run quiesce depmod \(folder.path) (EBADMSG)\n"))
        #expect(try host.terminate().status == 0)
      }
    }

    /// It can be opened while a client waits for it to be unused; and what has gone is known.
    @Test func moduleThatWaitsForIdleServesOn() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        let overdue = try host.start(["rmmod", "--when-idle", "0.05", "holdable"]).wait()
        #expect(overdue.status == 1 && overdue.error.hasSuffix("holds object held (ETIMEDOUT)\n"))
        let unload = try host.start(["rmmod", "holdable", "--when-idle"])
        for _ in 0..<5 {
          #expect(try host.run("cat", "held").output.count == 100_000)
          #expect(try host.modules() == ["holdable": "live"])
        }
        #expect(try host.run("lsmod", "--unloaded").output == "Module  Version  End  Ago  Path\n")
        holder.endInput()
        #expect(try unload.wait().status == 0)
        #expect(try host.modules().isEmpty)
        let gone = try host.run("lsmod", "--unloaded").output.split(separator: "\n")
        #expect(gone.count == 2 && gone[1].hasPrefix("holdable  "), "\(gone)")
        #expect(gone[1].contains("  unloaded  ") && gone[1].hasSuffix("/holdable.so"), "\(gone)")
        let json = try host.run("lsmod", "--unloaded", "--format", "json").output
        #expect(json.contains(#""end":"unloaded""#) && json.contains(#""module":"holdable""#))
        #expect(try host.run("rmmod", "--wait", "--when-idle", "holdable").status == 64)
        #expect(try host.terminate().status == 0)
      }
    }

    /// A module whose `init` has the index written anew, by a process of its own: that would wait
    /// for the module.
    @Test func initThatWaitsForDepmodIsRefused() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        let command = "\(Built.quiesce) depmod \(folder.path) 2> \(folder.path)/error"
        try folder.add(
          "impatient", "#include <stdlib.h>", start: "return system(\"\(command)\") == 0 ? 0 : -35;")
        let host = try TestHost(modules: folder.path)
        try host.expectRefusal(
          "quiesce: modprobe: impatient: its init failed (EDEADLK)", from: "modprobe", "impatient")
        let error = try String(contentsOfFile: "\(folder.path)/error", encoding: .utf8)
        let holder = "by a process that thread "
        #expect(error.hasPrefix("quiesce: depmod: \(folder.path): cannot be locked \(holder)"))
        #expect(error.hasSuffix("has started, which has its lock: it would wait for itself (EDEADLK)\n"))
        #expect(error.split(separator: "\n").count == 1)
        #expect(try Child(Built.quiesce, ["depmod", folder.path]).wait().status == 0)
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func endedWaitLeavesTheModuleInService() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        let line =
          "quiesce: rmmod: holdable: waited 0.05 seconds, in use: client \(holder.process) holds object held (ETIMEDOUT)"
        for arguments in [["--wait", "0.05", "holdable"], ["holdable", "--wait=0.05"]] {
          let outcome = try host.start(["rmmod"] + arguments).wait()
          #expect(outcome.status == 1 && outcome.error == line + "\n")
          #expect(try host.modules() == ["holdable": "live"])
          #expect(try host.run("cat", "held").output.count == 100_000)
        }
        let unload = try host.start(["rmmod", "--wait", "holdable"])
        try eventually("the module is going") { try host.modules() == ["holdable": "going"] }
        holder.endInput()
        #expect(try unload.wait().status == 0)
        #expect(try holder.wait().status == 0)
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func shellCompletionsAreGenerated() async throws {
      try await onThread {
        for shell in ["bash", "zsh", "fish"] {
          let script = try Child(Built.quiesce, ["--generate-completion-script", shell]).wait()
          #expect(script.status == 0 && script.output.contains("modprobe"), "\(shell)")
          #expect(script.output.contains("show-depends"), "\(shell)")
        }
      }
    }

    @Test func usageErrors() async throws {
      try await onThread {
        for arguments in [
          ["rmmod"], ["rmmod", "--wait", "5"], ["rmmod", "a", "--wait", "-1"],
          ["rmmod", "a", "--wait", "5s"],
          ["rmmod", "a", "--wait=nan"], ["modprobe"], ["modprobe", "-r", "-D", "a"],
          ["modinfo", "a", "--field", "x", "--format", "json"],
        ] {
          let outcome = try Child(Built.quiesce, arguments).wait()
          #expect(outcome.status == 64, "\(arguments) \(outcome)")
        }
      }
    }
  }
}
