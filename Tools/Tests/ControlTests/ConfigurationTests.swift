import Foundation
import Testing

@testable import quiesce

extension EndToEndTests {
  /// The rules for a host's modules.
  @Suite struct Configuration {
    private func refusal(_ text: String) throws -> String {
      let directory = try TemporaryDirectory()
      try directory.write(text, to: "a.toml")
      do {
        _ = try ConfigurationDirectory(path: directory.path)
        return ""
      } catch { return error.description.replacingOccurrences(of: directory.path, with: "DIR") }
    }

    @Test func filesAreMergedInOrder() throws {
      let directory = try TemporaryDirectory()
      try directory.write(
        """
        blacklist = ["net-flow"]
        [alias]
        "flow-*" = "counter"
        "dgram" = ["counter", "other"]
        [options.counter]
        limit = 5
        loud = true
        ports = [53, 80]
        label = "a b"
        [softdep.counter]
        before = ["log"]
        [install]
        debugger = false
        """, to: "10-first.toml")
      try directory.write(
        """
        blacklist = "old"
        alias."flow-*" = "other"
        options.counter.limit = 6
        softdep.counter = { before = ["early", "plat:dma64"], after = "late" }
        remove.counter = false
        install.debugger = true
        """, to: "20-second.toml")
      try directory.write("not read", to: "README")
      let rules = try ConfigurationDirectory(path: directory.path).configuration
      #expect(
        rules["net_flow"].isBlacklisted && rules["old"].isBlacklisted && !rules["counter"].isBlacklisted)
      #expect(rules["counter"].aliases == ["dgram"] && rules["other"].aliases == ["dgram", "flow-*"])
      #expect(rules["counter"].options == ["limit": "6", "loud": "yes", "ports": "53,80", "label": "a b"])
      #expect(
        rules["counter"].softBefore == ["log", "early", "plat:dma64"]
          && rules["counter"].softAfter == ["late"])
      #expect(rules["debugger"].mayBeLoaded && !rules["counter"].mayBeUnloaded)
    }

    @Test func errorsNameTheFileAndTheLine() throws {
      #expect(try refusal("blacklist = [\"a\"\nx = = 1\n").hasPrefix("DIR/a.toml:2:"))
      #expect(try refusal("ok = 1\n\n[alias\n").hasPrefix("DIR/a.toml:3:7: "))
      #expect(try refusal("ok = 1\n\n[alias\n").hasSuffix(" (EINVAL)"))
      let cases = [
        ("color = 1", "color: is no key: blacklist, alias, options, softdep, install or remove"),
        ("blacklist = 1", "blacklist: is neither a module nor a list of modules"),
        ("blacklist = [1]", "blacklist: is not a list of modules"),
        ("blacklist = [\"a/b\"]", "blacklist: 'a/b' is no module's name"),
        ("alias = 1", "alias: is not a table"),
        ("alias.\"a b\" = \"c\"", "alias: 'a b' is empty or has spaces in it"),
        ("options.a = 1", "options.a: is not a table"),
        ("options.a.b = 1.5", "options.a.b: is no string, integer, boolean or list of them"),
        ("options.a.b = [[1]]", "options.a.b: is a list of lists"),
        ("softdep.a.before = \"b c\"", "softdep.a.before: 'b c' is empty or has spaces in it"),
        ("softdep.a.during = \"b\"", "softdep.a.during: is no key: before or after"),
        ("install.a = \"/bin/false\"", "install.a: is neither true nor false"),
        ("remove.\"a/b\" = true", "remove: 'a/b' is no module's name"),
      ]
      for (text, reason) in cases { #expect(try refusal(text) == "DIR/a.toml: \(reason) (EINVAL)") }
      #expect(throws: (any Error).self) { try ConfigurationDirectory(path: "/nothing") }
    }

    /// Without a restart, and never halfway: with a mistake in one file, all the old rules stay.
    @Test func hangupReadsTheConfigurationAgain() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        try folder.add("first")
        try folder.add("second")
        let rules = try TemporaryDirectory()
        try rules.write("alias.nick = \"first\"\n", to: "rules.toml")
        let host = try TestHost(modules: folder.path, "--configuration", rules.path)
        #expect(try host.run("modprobe", "nick").output == "first: loaded\n")

        try rules.write("alias.nick = \"second\"\ninstall.first = false\n", to: "rules.toml")
        kill(host.child.process, SIGHUP)
        try eventually("it reads the rules") { host.child.error.contains("was read again") }
        #expect(
          host.child.error.hasSuffix("quiesce: host: \(rules.path): the configuration was read again\n"))
        #expect(try host.run("modprobe", "nick").output == "second: loaded\n")
        #expect(try host.run("lsmod").output.contains("first"))

        try rules.write("alias.nick = \"first\"\n", to: "10-good.toml")
        try rules.write("[alias\n", to: "rules.toml")
        kill(host.child.process, SIGHUP)
        try eventually("it says what is wrong") { host.child.error.contains("the old configuration stays") }
        #expect(host.child.error.contains("quiesce: host: \(rules.path)/rules.toml:1:7: "))
        #expect(try host.run("modprobe", "--resolve-alias", "nick").output == "second\n")
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func hangupEndsAHostWithoutConfiguration() async throws {
      try await onThread {
        let host = try TestHost()
        kill(host.child.process, SIGHUP)
        #expect(try host.child.wait().status == 0)
      }
    }

    @Test func hostFollowsTheConfiguration() async throws {
      try await onThread {
        let folder = try ModuleFolder()
        let limit = #"static int limit = 1; QUIESCENT_PARAMETER(limit, int, "A limit", .minimum = 1);"#
        try folder.add("base", limit)
        try folder.add("top", limit + #"QUIESCENT_DEPENDS("base"); QUIESCENT_ALIAS("own-*");"#)
        try folder.add("wanted")
        try folder.add("closed")
        try folder.add("needy", #"QUIESCENT_DEPENDS("closed");"#)
        let rules = try TemporaryDirectory()
        try rules.write(
          """
          blacklist = ["top"]
          alias."nick" = "top"
          options = { base.limit = "0x7", top.limit = 8 }
          softdep.top = { before = ["wanted", "closed"] }
          install.closed = false
          remove.base = false
          """, to: "rules.toml")
        let host = try TestHost(modules: folder.path, "--configuration", rules.path)
        #expect(try host.run("modprobe", "--resolve-alias", "nick").output == "top\n")
        // What it prints can be a file of it.
        let shown = try host.run("modprobe", "-c")
        #expect(shown.error.isEmpty && shown.output.hasPrefix("blacklist = [ 'top' ]\n"), "\(shown)")
        let copy = try TemporaryDirectory()
        try copy.write(shown.output, to: "copy.toml")
        let other = try TestHost(modules: folder.path, "--configuration", copy.path)
        #expect(try other.run("modprobe", "--show-config").output == shown.output)
        #expect(try other.run("modprobe", "-n", "nick").output.split(separator: "\n").count == 3)
        #expect(try host.run("modprobe", "-c", "top").status != 0)
        #expect(try host.run("modprobe").error.contains("Name a module."))
        #expect(try host.run("modprobe", "own-x").error.contains("has that name or an alias for it (ENOENT)"))
        #expect(
          try host.run("modprobe", "-n", "nick").output.replacingOccurrences(of: folder.path, with: "")
            == "insmod /wanted.so\ninsmod /base.so\ninsmod /top.so\n")
        let loaded = try host.run("modprobe", "nick", "limit=9")
        #expect(loaded.output == "wanted: loaded\nbase: loaded\ntop: loaded\n", "\(loaded.error)")
        #expect(try host.run("set", "base").output == "limit=7  (int)\n")
        #expect(try host.run("set", "top").output == "limit=9  (int)\n")
        for name in ["closed", "needy"] {
          try host.expectRefusal(
            "quiesce: modprobe: closed: the configuration forbids to load it (EPERM)", from: "modprobe", name)
        }
        #expect(try host.run("modprobe", "-r", "top").output == "top: unloaded\nwanted: unloaded\n")
        try host.expectRefusal(
          "quiesce: modprobe: base: the configuration forbids to unload it (EPERM)",
          from: "modprobe", "-r", "base")
        #expect(try host.run("modprobe", "top").output == "wanted: loaded\ntop: loaded\n")
        #expect(try host.run("set", "top").output == "limit=8  (int)\n")
        #expect(try host.terminate().status == 0)

        try rules.write("[alias\n", to: "rules.toml")
        let outcome = try Child(
          Built.quiesce,
          ["host", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9", "--configuration", rules.path]
        ).wait()
        #expect(
          outcome.status == 1 && outcome.error.hasPrefix("quiesce: host: \(rules.path)/rules.toml:1:7: "))
        #expect(outcome.error.split(separator: "\n").count == 1)
      }
    }
  }
}
