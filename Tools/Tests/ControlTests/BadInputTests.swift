import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

extension EndToEndTests {
  /// Whatever is asked of a host: one clear line, status 1, and it keeps serving.
  @Suite struct BadInput {
    @Test func modulesThatCannotBeLoadedAreRefused() async throws {
      try await onThread {
        let host = try TestHost()
        let directory = try Built.modules.get()
        // Name, and what its line says and ends with.
        let cases = [
          ("nosuch", "nosuch: no such module in \(directory)", "ENOENT"),
          ("./nosuch.so", "no such file", "ENOENT"),
          ("text", "not an ELF file", "ENOEXEC"),
          ("empty", "not an ELF file", "ENOEXEC"),
          ("stump", "cut short", "ENOEXEC"),
          ("half", "half.so: ", "ENOEXEC"),
          ("folder", "is a directory", "EISDIR"),
          ("oldabi", "built for module ABI 999", "ENOEXEC"),
          ("noentry", "does not export quiescent_module", "ENOEXEC"),
          ("unresolved", "function_that_nobody_has", "ENOEXEC"),
          ("failing", "failing: its init failed", "ENOMEM"),
          ("badname", "its name", "EINVAL"),
          ("", "a module's name", "EINVAL"),
          ("no such name", "a module's name", "EINVAL"),
          ("new\nline", #"new\nline: a module's name"#, "EINVAL"),
          (String(repeating: "x", count: 300), "a module's name", "EINVAL"),
          ("twin", "its module is called 'counter', and its file 'twin'", "ENOEXEC"),
          ("\(directory)/twin.so", "its module is called 'counter', and its file 'twin'", "ENOEXEC"),
          ("/\(String(repeating: "x", count: 70_000))", "longer than 65536 bytes", "EMSGSIZE"),
        ]
        for (module, words, errno) in cases {
          let outcome = try host.run("insmod", "--", module)
          let line = outcome.error
          #expect(outcome.status == 1 && outcome.output.isEmpty, "\(module)")
          #expect(line.hasPrefix("quiesce: insmod: ") && line.contains(words), "\(module): \(line)")
          #expect(line.hasSuffix(" (\(errno))\n"), "\(module): \(line)")
          #expect(line.split(separator: "\n").count == 1, "\(module): \(line)")
          #expect(try host.modules().isEmpty)
        }
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    /// The loader maps what the headers promise: behind the end of the file there is nothing to
    /// touch.
    @Test func truncatedModulesAreRefused() async throws {
      try await onThread {
        let host = try TestHost()
        let directory = try TemporaryDirectory()
        let whole = try Data(contentsOf: URL(fileURLWithPath: "\(Built.modules.get())/holdable.so"))
        let cut = directory.file("holdable.so")
        for length in stride(from: 0, to: whole.count, by: 211) {
          // A new file each time: writing into one that is mapped changes what is mapped.
          unlink(cut)
          try whole.prefix(length).write(to: URL(fileURLWithPath: cut))
          let outcome = try host.run("insmod", cut)
          // Nothing that is needed may be missing from it.
          if outcome.status == 0 {
            try host.expectSuccess(of: "rmmod", "holdable")
          } else {
            #expect(outcome.status == 1 && outcome.error.hasSuffix(" (ENOEXEC)\n"), "\(outcome.error)")
          }
        }
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func loadedAndMissingModulesAreNamed() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectRefusal(
          "quiesce: rmmod: counter: no such module is loaded (ENOENT)", from: "rmmod", "counter")
        try host.expectSuccess(of: "insmod", "counter")
        let outcome = try host.run("insmod", "counter")
        #expect(outcome.status == 1 && outcome.error.hasSuffix("loaded already (EEXIST)\n"))
        try host.expectRefusal("quiesce: cat: nothing: no such object (ENOENT)", from: "cat", "nothing")
        #expect(try host.modules() == ["counter": "live"])
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func malformedMessagesAreAnswered() async throws {
      try await onThread {
        let host = try TestHost()
        let long = String(repeating: "x", count: Request.limit + 1)
        // What is sent, whether the client then ends its side, and the errno's name in the reply.
        let cases: [(String, Bool, String)] = [
          ("garbage\n", false, "EBADMSG"),
          ("\n", false, "EBADMSG"),
          ("\u{0}\u{1}\u{2}\n", false, "EBADMSG"),
          (#"{"verb":"lsmod""#, true, "EBADMSG"),
          ("x", true, "EBADMSG"),
          (long, false, "EMSGSIZE"),
          (long + "\n", false, "EMSGSIZE"),
          (String(repeating: long, count: 40), false, "EMSGSIZE"),
          (#"{"verb":"format-disk"}"# + "\n", false, "ENOSYS"),
          (#"{"verb":["lsmod"]}"# + "\n", false, "EINVAL"),
          (#"{"verb":"insmod"}"# + "\n", false, "EINVAL"),
          (#"{"verb":"insmod","module":"a/b"}"# + "\n", false, "EINVAL"),
          (#"{"verb":"insmod","module":"../counter"}"# + "\n", false, "EINVAL"),
          (#"{"verb":"insmod","module":"/etc/passwd\u0000.so"}"# + "\n", false, "EINVAL"),
          (#"{"verb":"rmmod","module":"a","wait":1}"# + "\n", false, "EINVAL"),
          (String(repeating: "[", count: 60_000) + "\n", false, "EBADMSG"),
        ]
        for (message, ends, errno) in cases {
          let client = try RawClient(host.control)
          client.send(message)
          if ends { client.finish() }
          let reply = try #require(try client.reply())
          #expect(reply.contains(#""ok":false"#) && reply.contains("\"errno\":\"\(errno)\""), "\(reply)")
          try host.expectService()
        }
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func silentAndTalkativeClientsDoNotStopTheServer() async throws {
      try await onThread {
        let host = try TestHost()
        var crowd = try (0..<64).map { _ in try RawClient(host.control) }
        try host.expectRefusal(
          "quiesce: lsmod: 64 clients are connected, which is the limit (EAGAIN)", from: "lsmod")
        #expect(try Datagram.roundTrip(to: host.port))
        crowd.removeAll()
        try eventually("there is room again") { try host.run("lsmod").status == 0 }
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func usageErrors() async throws {
      try await onThread {
        for arguments in [
          ["frobnicate"], ["insmod"], ["lsmod", "--format", "xml"], ["host"], ["rmmod", "--wait"],
          ["host", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9", "--workers", "0"],
          ["host", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9", "--flow-timeout", "-1"],
        ] {
          #expect(try Child(Built.quiesce, arguments).wait().status == 64, "\(arguments)")
        }
        for command in [
          "host", "insmod", "rmmod", "lsmod", "cat", "stat", "depmod", "modinfo", "modprobe", "set",
        ] {
          let help = try Child(Built.quiesce, [command, "--help"]).wait()
          #expect(help.status == 0 && help.output.contains("Example:"), "\(command)")
        }
        #expect(try Child(Built.quiesce, ["--version"]).wait().output.contains("."))
      }
    }
  }
}
