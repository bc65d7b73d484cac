import CControl
import Foundation
import ModuleManager
import Relay
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

extension EndToEndTests {
  /// `quiesce trace` at a real host.
  @Suite struct Tracing {
    /// Starts a follower, and returns when it follows.
    private func follow(_ host: TestHost, _ more: String...) throws -> Child {
      let child = try host.start(["trace"] + more)
      try eventually("it follows; it says: \(child.error)") { child.output.hasPrefix("   # SECONDS") }
      return child
    }

    /// As `follow`, for a viewer.
    private func draw(_ host: TestHost, to file: String) throws -> Child {
      let child = try host.start(["trace", "--format", "chrome", "--output", host.directory.file(file)])
      try eventually("it follows; it says: \(child.error)") {
        (try? host.directory.read("\(file).\(child.process).partial"))?.isEmpty == false
      }
      return child
    }

    @Test func textFollowsAModulesLife() async throws {
      try await onThread {
        let host = try TestHost()
        let trace = try follow(host)
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        _ = try host.run("rmmod", "holdable")
        holder.endInput()
        _ = try holder.wait()
        try host.expectSuccess(of: "rmmod", "holdable", "--wait")
        // Before it is interrupted: what is there by then is read.
        trace.signal(SIGINT)
        let outcome = try trace.wait()
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let lines = outcome.output.split(separator: "\n").map(String.init)
        let events = lines.dropFirst().map { line in
          line.split(separator: " ", omittingEmptySubsequences: true).dropFirst(2).joined(separator: " ")
        }
        let client = "client \(holder.process) holds object held"
        for wanted in [
          "load begin holdable", "init end holdable after", "get holdable \(client)",
          "unload end holdable in use: \(client) (EBUSY), after", "put holdable \(client)",
          "readers end holdable after",
          "exit end holdable after", "unmap end holdable after", "state holdable gone",
          "unload end holdable after",
        ] {
          #expect(events.contains { $0.hasPrefix(wanted) }, "\(wanted) in \(events)")
        }
        let column = try #require(lines.first?.range(of: "EVENT")?.lowerBound.utf16Offset(in: lines[0]))
        for line in lines {
          let cells = Array(line)
          #expect(cells[column - 1] == " " && cells[column] != " ", "\(line)")
        }
        #expect(try host.terminate().status == 0)
      }
    }

    /// Chosen where they are recorded: what is left out overwrites nothing.
    @Test func kindsAndDurationsCanBeChosen() async throws {
      try await onThread {
        let host = try TestHost()
        let trace = try follow(host, "--kind", "load", "--kind", "unload", "--at-least", "0", "--buffer", "4")
        for _ in 0..<2 {
          try host.expectSuccess(of: "insmod", "counter")
          try host.expectSuccess(of: "rmmod", "counter")
          try eventually("both are printed") { trace.output.contains("unload end") }
        }
        trace.signal(SIGINT)
        let outcome = try trace.wait()
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome)")
        let events = outcome.output.split(separator: "\n").dropFirst()
        #expect(events.count == 4)
        #expect(
          events.allSatisfy { $0.contains("load end") && $0.contains(" counter ") && $0.contains("after ") },
          "\(events)")
        try host.expectRefusal(
          "quiesce: trace: 'gets' is no kind of event; there are callbacks, exit, get, init, load, map, put, "
            + "readers, refused, replace, request, state, unload, unmap (EINVAL)",
          from: "trace", "--kind", "gets")
        #expect(
          try host.run("trace", "--at-least=-1").error.contains("--at-least is from 0 to 1000000000"))
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func jsonIsOneObjectALineAndOneModuleCanBeChosen() async throws {
      try await onThread {
        let host = try TestHost()
        let trace = try host.start([
          "trace", "--format", "json", "--module", "counter", "--module", "nosuch",
        ])
        try eventually("it has seen an unload") {
          for module in ["conntrack", "counter"] { try host.expectSuccess(of: "insmod", module) }
          for module in ["conntrack", "counter"] { try host.expectSuccess(of: "rmmod", module) }
          return trace.output.contains(#""label":"gone""#)
        }
        trace.signal(SIGHUP)
        let outcome = try trace.wait()
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let rows = try outcome.output.split(separator: "\n").map {
          try Wire.decoder().decode(TraceRow.self, from: Data($0.utf8))
        }
        #expect(rows.allSatisfy { $0.module == "counter" && $0.threadName != nil })
        #expect(zip(rows, rows.dropFirst()).allSatisfy { $0.number < $1.number })
        #expect(rows.filter { $0.phase == "end" }.allSatisfy { ($0.nanoseconds ?? -1) >= 0 })
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    /// A file for a viewer takes the place of the old one when it is whole, and it is whole also in
    /// the middle of an unload.
    @Test func timelineReplacesItsFileAtTheEnd() async throws {
      try await onThread {
        let host = try TestHost()
        let old = #"{"old":true}"#
        try host.directory.write(old, to: "t.json")
        let trace = try draw(host, to: "t.json")
        let text = try follow(host)
        try host.expectSuccess(of: "insmod", "counter")
        try host.expectSuccess(of: "rmmod", "counter")
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "held", "--hold"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        let unload = try host.start(["rmmod", "holdable", "--wait"])
        try eventually("it waits") { text.output.contains("unload begin     holdable") }
        #expect(try host.directory.read("t.json") == old)
        trace.signal(SIGTERM)
        let outcome = try trace.wait()
        #expect(outcome.status == 0 && outcome.output.isEmpty && outcome.error.isEmpty)
        let timeline = try Timeline(try host.directory.read("t.json"))
        #expect(timeline.isBalanced && timeline.lost == "0")
        #expect(timeline.unfinished == ["unload holdable"])
        #expect(
          timeline.names("b") == ["load counter", "unload counter", "load holdable", "unload holdable"])
        #expect(
          timeline.names("X") == [
            "map counter", "init counter", "readers counter", "exit counter", "callbacks counter",
            "unmap counter",
            "map holdable", "init holdable", "readers holdable",
          ])
        #expect(timeline.names("M").contains("thread_name"))
        let files = try FileManager.default.contentsOfDirectory(atPath: host.directory.path)
        #expect(!files.contains { $0.hasSuffix(".partial") }, "\(files)")
        holder.endInput()
        _ = try holder.wait()
        #expect(try unload.wait().status == 0)
        #expect(try host.terminate().status == 0)
        #expect(try text.wait().status == 1)
      }
    }

    /// The host goes: what was read is there, and one line says why it ended.
    @Test func endOfTheHostIsReported() async throws {
      try await onThread {
        let host = try TestHost()
        let text = try follow(host)
        let path = host.directory.file("t.json")
        let trace = try draw(host, to: "t.json")
        try host.expectSuccess(of: "insmod", "counter")
        try eventually("it is told") { text.output.contains("load end") }
        #expect(try host.terminate().status == 0)
        for child in [text, trace] {
          let outcome = try child.wait()
          #expect(
            outcome.status == 1 && outcome.error.hasPrefix("quiesce: trace: the host closed the connection"))
          #expect(outcome.error.split(separator: "\n").count == 1)
        }
        #expect(try Timeline(try String(contentsOfFile: path, encoding: .utf8)).isBalanced)
      }
    }

    /// A host that goes before it has answered at all: there is no trace, and the old file stays.
    @Test func traceThatNeverBeganReplacesNoFile() async throws {
      try await onThread {
        let directory = try TemporaryDirectory()
        let socket = OwnedSocket()
        let file = try SocketFile(claiming: directory.file("s"), for: socket.descriptor, backlog: 1)
        defer { file.remove() }
        try directory.write("precious", to: "t.json")
        for format in ["text", "json", "chrome"] {
          let trace = try Child(
            Built.quiesce,
            [
              "trace", "--control", directory.file("s"), "--format", format, "--output",
              directory.file("t.json"),
            ])
          #expect(control_wait(socket.descriptor, -1, 60_000) == 1)
          _ = OwnedSocket(control_accept(socket.descriptor))
          let outcome = try trace.wait()
          #expect(outcome.status == 1 && outcome.output.isEmpty)
          #expect(
            outcome.error.hasPrefix("quiesce: trace: the host closed the connection"), "\(outcome.error)")
          #expect(try directory.read("t.json") == "precious")
        }
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(files.sorted() == ["s", "t.json"])
      }
    }

    /// A host that does not answer cannot keep a client from leaving.
    @Test func hangingHostDoesNotBlockTheCommand() async throws {
      try await onThread {
        let host = try TestHost()
        let trace = try follow(host)
        host.child.signal(SIGSTOP)
        trace.signal(SIGINT)
        #expect(try trace.wait().status == 0)
        host.child.signal(SIGCONT)
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    /// A follower that does not read is told how much it has missed, and so is the reader of its
    /// errors.
    @Test func lostEventsAreCounted() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let trace = try follow(host, "--buffer", "16")
        trace.signal(SIGSTOP)
        let client = try ControlClient(path: host.control)
        for _ in 0..<100 { try client.close(try client.open("held")) }
        trace.signal(SIGCONT)
        try eventually("it is told") { trace.error.contains(" events lost") }
        trace.signal(SIGINT)
        let outcome = try trace.wait()
        #expect(outcome.status == 0)
        let read = outcome.output.split(separator: "\n").count - 1
        let lost = outcome.error.split(separator: "\n").compactMap { line in
          line.split(separator: " ").dropFirst(2).first.flatMap { Int($0) }
        }.reduce(0, +)
        #expect(read + lost == 200, "\(outcome.error)")
        #expect(try host.terminate().status == 0)
      }
    }

    /// However a follower ends, tracing ends with it.
    @Test func killedFollowerDisablesTracing() async throws {
      try await onThread {
        let manager = ModuleManager()
        let directory = try TemporaryDirectory()
        let server = try ControlServer(
          path: directory.file("s"),
          service: HostService(
            manager: manager, moduleDirectory: directory.path, statistics: { RelayStatistics() }),
          log: { _ in })
        server.start()
        defer { server.stop(within: .seconds(60)) }
        for signal in [SIGKILL, SIGINT] {
          #expect(!manager.isTraced)
          let trace = try Child(Built.quiesce, ["trace", "--control", directory.file("s")])
          try eventually("it follows") { manager.isTraced }
          trace.signal(signal)
          _ = try trace.wait()
          try eventually("no client follows") { !manager.isTraced }
        }
      }
    }

    @Test func unwritableFileIsReportedBeforeTracingBegins() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectRefusal(
          "quiesce: trace: /nonexistent/t: cannot be written (ENOENT)", from: "trace", "--output",
          "/nonexistent/t")
        try host.expectRefusal(
          "quiesce: trace: \(host.directory.path): cannot be written (EISDIR)", from: "trace", "--output",
          host.directory.path)
        for arguments in [
          ["--seconds", "0"], ["--seconds", "nan"], ["--buffer", "0"], ["--module", ""], ["--format", "svg"],
        ] {
          let outcome = try host.start(["trace"] + arguments).wait()
          #expect(outcome.status == 64 && outcome.output.isEmpty && outcome.error.hasPrefix("Error: "))
        }
        let full = try host.run("trace", "--seconds", "0.1", "--output", "/dev/full")
        #expect(full.status == 1 && full.error == "quiesce: trace: /dev/full: cannot be written (ENOSPC)\n")
        let pipe = try host.run("trace", "--seconds", "0.1", "--output", "/dev/null")
        #expect(pipe.status == 0 && pipe.error.isEmpty)
        #expect(try host.terminate().status == 0)
        let absent = try host.run("trace", "--output", host.directory.file("new"))
        #expect(absent.status == 1 && absent.error == "quiesce: trace: no host at \(host.control) (ENOENT)\n")
        #expect(!FileManager.default.fileExists(atPath: host.directory.file("new")))
      }
    }
  }
}
