import CControl
import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

extension EndToEndTests {
  /// The host ends and its requests end, whatever modules and clients do.
  @Suite struct HostEnd {
    @Test func moduleWhoseExitHangsIsLeftBehindWithinTenSeconds() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "hangexit")
        let unload = try host.start(["rmmod", "hangexit"])
        try eventually("it is going") {
          try ControlClient(path: host.control).lsmod().contains {
            $0.module == "hangexit" && $0.state != "live"
          }
        }
        try host.expectSuccess(of: "insmod", "leak")
        let start = ContinuousClock.now
        let outcome = try host.terminate()
        #expect(outcome.status == 1)
        #expect(start.duration(to: .now) < .seconds(10))
        for line in ["hangexit: waited .*, exit has not returned for ", "leak: waited .*, in use: leaked "] {
          let said = outcome.error.range(of: "quiesce: host: \(line)", options: .regularExpression)
          #expect(said != nil, "\(outcome.error)")
        }
        #expect(access(host.control, F_OK) != 0)
        #expect(try unload.wait().status == 1)
      }
    }

    @Test func initInProgressEndsBeforeOtherModulesAreUnloaded() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        let load = try host.start(["insmod", "slowinit"])
        try eventually("it is coming") { try host.modules()["slowinit"] == "coming" }
        let outcome = try host.terminate()
        #expect(outcome.status == 1)
        #expect(!outcome.error.contains("quiesce: host: slowinit"), "\(outcome.error)")
        #expect(outcome.error.contains("slowinit is gone\n"), "\(outcome.error)")
        #expect(outcome.error.contains("quiesce: host: leak: "), "\(outcome.error)")
        #expect(try load.wait().status == 1)
      }
    }

    @Test func crashNamesTheModule() async throws {
      try await onThread {
        let host = try TestHost()
        let load = try host.run("insmod", "crashing")
        #expect(load.status == 1)
        let outcome = try host.child.wait()
        #expect(outcome.status == 128 + SIGSEGV)
        let lines = outcome.error.split(separator: "\n").map(String.init)
        let first = lines.firstIndex { $0.hasPrefix("quiescence: SIGSEGV at address 0x10, thread ") }
        try #require(first != nil, "\(outcome.error)")
        #expect(first.map { lines[$0 + 1].hasPrefix("  in crashing+0x") } == true, "\(lines)")
      }
    }

    /// exit(3) waits for the loader's lock, which the constructor holds.
    @Test func hangingConstructorDoesNotKeepTheProcess() async throws {
      try await onThread {
        let host = try TestHost()
        let load = try host.start(["insmod", "hangload"])
        try eventually("the loader runs it") { host.child.error.contains("constructor") }
        let list = try host.run("lsmod")
        #expect(list.status == 0 && list.output.contains("unformed (the loader has not mapped it for "))
        let outcome = try host.terminate()
        #expect(outcome.status == 1)
        let line = outcome.error.split(separator: "\n").last ?? ""
        #expect(
          line.hasPrefix("quiesce: host: hangload: is unformed already (the loader has not mapped it for "),
          "\(outcome.error)")
        #expect(try load.wait().status == 1)
      }
    }

    @Test(arguments: [SIGTERM, SIGINT]) func secondSignalEndsTheHostAtOnce(_ signal: Int32) async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        host.child.signal(SIGTERM)
        try eventually("the host is ending") { access(host.control, F_OK) != 0 }
        // The first signal has been taken: the socket's name has gone.
        host.child.signal(signal)
        #expect(try host.child.wait().status == 128 + signal)
      }
    }

    @Test func unreadStandardErrorDelaysNothing() async throws {
      try await onThread {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let output = OwnedSocket(ends[0])
        let host: TestHost
        do {
          let input = OwnedSocket(ends[1])
          host = try TestHost(standardError: input.descriptor)
        }
        for _ in 0..<3 {
          try host.expectSuccess(of: "insmod", "flood")
          try host.expectSuccess(of: "rmmod", "flood")
        }
        try host.expectService()
        host.child.signal(SIGTERM)
        #expect(try host.child.wait().status == 0)
        // What fitted into the pipe is there.
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = Foundation.read(output.descriptor, &bytes, bytes.count)
        let lines = String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: "\n")
        #expect(lines.count > 100 && lines.contains { $0.hasPrefix("flood: 0123") })
      }
    }

    @Test func standardErrorThatIsNotReadDoesNotKeepAHostThatCannotStart() async throws {
      try await onThread {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let (output, input) = (OwnedSocket(ends[0]), OwnedSocket(ends[1]))
        _ = fcntl(input.descriptor, F_SETFL, O_NONBLOCK)
        while Foundation.write(input.descriptor, "x", 1) == 1 {}
        _ = fcntl(input.descriptor, F_SETFL, 0)
        let host = try Child(
          Built.quiesce, ["host", "--listen", "nonsense", "--forward", "127.0.0.1:9"],
          standardError: input.descriptor)
        #expect(try host.wait().status == 1)
        withExtendedLifetime(output) {}
      }
    }

    @Test func lsmodSaysWhatAModuleIsInside() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "hangexit")
        let unload = try host.start(["rmmod", "hangexit"])
        try eventually("the table says it") {
          try host.run("lsmod").output.contains("going (exit has not returned for ")
        }
        struct Row: Decodable { let activity: String? }
        let json = try host.run("lsmod", "--format", "json").output
        let rows = try JSONDecoder().decode([Row].self, from: Data(json.utf8))
        #expect(rows.first?.activity?.hasPrefix("exit has not returned for ") == true, "\(json)")
        // No requests but this one waits for it.
        try host.expectSuccess(of: "insmod", "counter")
        try host.expectSuccess(of: "rmmod", "counter")
        host.child.signal(SIGKILL)
        #expect(try unload.wait().status == 1)
      }
    }

    /// Closed while their requests are under way, more often than there are places.
    @Test func clientsThatCloseFreeTheirPlacesAndEndTheirWaits() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        for _ in 0..<200 {
          let client = try RawClient(host.control)
          client.send(#"{"verb":"rmmod","module":"leak","wait":true}"# + "\n")
        }
        try eventually("it serves again") { try host.modules()["leak"] == "live" }
        try host.expectService()
        #expect(try host.run("rmmod", "leak").error.hasSuffix("(EBUSY)\n"))
      }
    }

    /// A load of a module that is going waits for its end: here until its client has gone.
    @Test func clientsThatCloseDuringALoadLeaveNoThreadBehind() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        let waiting = try host.start(["rmmod", "--wait", "leak"])
        try eventually("it is going") { try host.modules()["leak"] == "going" }
        let threads = { () throws in
          try FileManager.default.contentsOfDirectory(atPath: "/proc/\(host.child.process)/task").count
        }
        let before = try threads()
        for _ in 0..<50 {
          let clients = try ["insmod", "request"].map { verb in
            let client = try RawClient(host.control)
            client.send(#"{"verb":"\#(verb)","module":"leak"}"# + "\n")
            return client
          }
          withExtendedLifetime(clients) {}
        }
        try eventually("their threads have ended") { try threads() <= before + 8 }
        #expect(try host.modules()["leak"] == "going")
        waiting.signal(SIGKILL)
      }
    }

    @Test(arguments: [SIGINT, SIGKILL]) func interruptedCommandGivesItsWaitUp(_ signal: Int32)
      async throws
    {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        let waiting = try host.start(["rmmod", "--wait", "leak"])
        try eventually("it is going") { try host.modules()["leak"] == "going" }
        waiting.signal(signal)
        _ = try waiting.wait()
        try eventually("it serves again") { try host.modules()["leak"] == "live" }
      }
    }

    @Test func cancelEndsTheWaitOfAnotherClient() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "leak")
        try host.expectRefusal(
          "quiesce: rmmod: leak: no request for it is under way (ENOENT)", from: "rmmod", "--cancel", "leak")
        let waiting = try host.start(["rmmod", "--wait", "leak"])
        try eventually("it is going") { try host.modules()["leak"] == "going" }
        #expect(try host.run("rmmod", "--cancel", "leak").output == "leak: 1 request ended\n")
        #expect(try waiting.wait().status == 1)
        #expect(try host.modules()["leak"] == "live")
        // An unload that is no client's, and cannot be given up.
        _ = try host.run("insmod", "failleak")
        #expect(try host.modules()["failleak"] == "going")
        let outcome = try host.run("rmmod", "--cancel", "failleak")
        #expect(outcome.error.contains("failleak: nothing leads back, since its init failed"), "\(outcome)")
      }
    }

    /// The host closes what its client holds open, and the client that waited has its answer.
    @Test func forceClosesWhatClientsHoldAndEndsTheWaitOfAnotherClient() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "holdable")
        let holder = try host.start(["cat", "--hold", "held"])
        try eventually("the object is printed") { holder.output.count == 100_000 }
        let waiting = try host.start(["rmmod", "--wait", "holdable"])
        try eventually("it is going") { try host.modules()["holdable"] == "going" }
        try host.expectSuccess(of: "rmmod", "--force", "holdable")
        #expect(try waiting.wait().status == 0)
        #expect(try host.modules().isEmpty)
        holder.endInput()
        #expect(try holder.wait().status == 0)
      }
    }

    @Test func readOnlySocketChangesNothing() async throws {
      try await onThread {
        let directory = try TemporaryDirectory()
        let look = directory.file("look")
        let host = try TestHost("--read-only-control", look)
        try host.expectSuccess(of: "insmod", "counter")
        var status = stat()
        #expect(lstat(look, &status) == 0 && status.st_mode == S_IFSOCK | 0o660)
        #expect(try Child(Built.quiesce, ["lsmod", "--control", look]).wait().output.contains("counter"))
        #expect(try Child(Built.quiesce, ["stat", "--control", look]).wait().status == 0)
        for arguments in [
          ["rmmod", "counter"], ["insmod", "counter"], ["cat", "held"], ["rmmod", "--cancel", "counter"],
        ] {
          let outcome = try Child(Built.quiesce, [arguments[0], "--control", look] + arguments.dropFirst())
            .wait()
          #expect(
            outcome.status == 1 && outcome.error.hasSuffix("this control socket is read-only (EPERM)\n"))
        }
        #expect(try host.modules() == ["counter": "live"])
        #expect(try host.terminate().status == 0)
        #expect(access(look, F_OK) != 0)
      }
    }

    @Test func moduleOfAnotherNameThanItsFileIsRefused() async throws {
      try await onThread {
        let host = try TestHost()
        let directory = try Built.modules.get()
        let line =
          "\(directory)/bar.so: its module is called 'foo', and its file 'bar': they must be the same (ENOEXEC)\n"
        for arguments in [["insmod", "bar"], ["insmod", "\(directory)/bar.so"], ["modprobe", "bar"]] {
          let outcome = try host.start(arguments).wait()
          #expect(outcome.status == 1 && outcome.error == "quiesce: \(arguments[0]): \(line)")
        }
        let depmod = try Child(Built.quiesce, ["depmod", "--dry-run", directory]).wait()
        #expect(depmod.error.contains("quiesce: depmod: \(line)"))
        for (load, unload) in [("rate-limit", "rate_limit"), ("rate_limit", "rate-limit")] {
          #expect(try host.run("modprobe", load).output == "rate_limit: loaded\n")
          try host.expectSuccess(of: "rmmod", unload)
          #expect(try host.run("insmod", load).output == "rate_limit: loaded\n")
          #expect(try host.run("modprobe", "--remove", unload).output == "rate_limit: unloaded\n")
        }
      }
    }

    /// Clients that are killed at random while their requests run: after it all places are free,
    /// and each module unloads.
    @Test func clientsThatAreKilledAtRandomLeaveNothingBehind() async throws {
      try await onThread {
        let host = try TestHost()
        let commands = [
          ["insmod", "counter"], ["rmmod", "--wait", "counter"], ["cat", "--hold", "held"],
          ["insmod", "holdable"],
          ["rmmod", "--wait", "holdable"], ["lsmod"], ["trace", "--seconds", "5"], ["modprobe", "conntrack"],
          ["rmmod", "--when-idle", "conntrack"],
        ]
        var random = SystemRandomNumberGenerator()
        var running: [Child] = []
        for _ in 0..<150 {
          running.append(try host.start(commands.randomElement(using: &random)!))
          if running.count < 8 { continue }
          usleep(.random(in: 0..<3000, using: &random))
          running.remove(at: .random(in: 0..<running.count, using: &random)).signal(SIGKILL)
        }
        for child in running { child.signal(SIGKILL) }
        running.removeAll()
        // What was under way when its client went ends: then no module is held, and each one goes.
        try eventually("every module unloads") {
          for name in try host.modules().keys { _ = try host.run("rmmod", name) }
          return try host.modules().isEmpty
        }
        let crowd = try (0..<63).map { _ in try ControlClient(path: host.control) }
        for client in crowd { #expect(try client.lsmod().isEmpty) }
        try host.expectService()
        withExtendedLifetime(crowd) {}
        #expect(try host.terminate().status == 0)
      }
    }
  }
}
