import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

/// Everything below starts hosts as child processes and real modules in them: one after the other.
@Suite(.serialized) struct EndToEndTests {}

extension EndToEndTests {
  /// The life of modules, from the command line.
  @Suite struct Modules {
    @Test func moduleIsLoadedListedAndUnloaded() async throws {
      try await onThread {
        let host = try TestHost()
        #expect(try host.run("lsmod").output == "Module  State  Size  Users  Used by  Age\n")
        #expect(try host.run("lsmod", "--format", "json").output == "[]\n")
        let loaded = try host.run("insmod", "counter")
        #expect(loaded.output == "counter: loaded\n")
        try host.expectService()
        #expect(try host.modules() == ["counter": "live"])
        let table = try host.run("lsmod").output.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(table.count == 2 && table[1].prefix(2) == ["counter", "live"])

        let gone = try host.run("rmmod", "counter")
        #expect(gone.output.hasPrefix("counter: unloaded in "))
        #expect(try host.modules().isEmpty)
        try host.expectService()
        #expect(try host.terminate().status == 0)
        let log = host.child.error.split(separator: "\n")
        for state in ["coming", "live", "going", "gone"] { #expect(log.contains("counter is \(state)")) }
        #expect(log.contains { $0.hasPrefix("counter: saw ") })
      }
    }

    @Test func bothSamplesRunTogetherRepeatedly() async throws {
      try await onThread {
        let host = try TestHost()
        let client = try ControlClient(path: host.control)
        for _ in 0..<50 {
          for module in ["conntrack", "counter"] { _ = try client.insmod(module) }
          #expect(try Datagram.roundTrip(to: host.port))
          for module in ["conntrack", "counter"] {
            let reply = try client.rmmod(module, .wait)
            #expect(reply.unmapped && reply.residentReason == nil)
          }
        }
        #expect(try client.stat().moduleCalls >= 50)
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func pathIsResolvedByTheClient() async throws {
      try await onThread {
        let host = try TestHost(modules: "/tmp")
        let directory = try Built.modules.get()
        let here = try Child(
          "/bin/sh",
          ["-c", "cd \(directory) && \(Built.quiesce) insmod ./counter.so --control \(host.control)"])
        #expect(try here.wait().output == "counter: loaded\n")
        try host.expectRefusal(
          "quiesce: insmod: conntrack: no such module in /tmp (ENOENT)", from: "insmod", "conntrack")
        try host.expectSuccess(of: "insmod", "\(directory)/conntrack.so")
        #expect(try host.modules().keys.sorted() == ["conntrack", "counter"])
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func openObjectHoldsItsModule() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let whole = try host.run("cat", "held")
        #expect(whole.output == String(repeating: "x", count: 100_000))

        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        try host.expectRefusal(
          "quiesce: rmmod: holdable: in use: client \(holder.process) holds object held (EBUSY)",
          from: "rmmod", "holdable")
        #expect(try host.modules() == ["holdable": "live"])
        #expect(try host.run("lsmod").output.contains("  client \(holder.process) holds object held  "))

        let unload = try host.start(["rmmod", "holdable", "--wait"])
        try eventually("the module is going") { try host.modules() == ["holdable": "going"] }
        try host.expectRefusal("quiesce: cat: held: no such object (ENOENT)", from: "cat", "held")
        try host.expectService()
        holder.endInput()
        #expect(try holder.wait().status == 0)
        #expect(try unload.wait().status == 0)
        #expect(try host.modules().isEmpty)
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func killedHolderReleasesItsObject() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        holder.signal(SIGKILL)
        _ = try holder.wait()
        try host.expectSuccess(of: "rmmod", "holdable", "--wait")
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func refusedExitIsRetriedByTheNextUnload() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "unwilling")
        let refused = try host.run("rmmod", "unwilling")
        #expect(refused.status == 1 && refused.error.hasPrefix("quiesce: rmmod: unwilling: "))
        #expect(refused.error.hasSuffix("(EBUSY)\n"))
        #expect(try host.modules() == ["unwilling": "cleanup"])
        try host.expectSuccess(of: "rmmod", "unwilling")
        try host.expectSuccess(of: "insmod", "unwilling")
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func loggedTextIsOneLine() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "chatty")
        #expect(host.child.error.contains("chatty: one\\nline\\u{1B}[2J\n"))
        #expect(try host.terminate().status == 0)
      }
    }
  }
}
