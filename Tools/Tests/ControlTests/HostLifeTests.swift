import CControl
import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

extension EndToEndTests {
  /// How a host starts and ends.
  @Suite struct HostLife {
    @Test func endsWithModulesLoadedAndAnObjectHeld() async throws {
      try await onThread {
        for signal in [SIGTERM, SIGINT] {
          let host = try TestHost()
          for module in ["conntrack", "counter", "holdable"] { try host.expectSuccess(of: "insmod", module) }
          let holder = try host.start(["cat", "held", "--hold"])
          try eventually("the object is printed") { holder.output.count == 100_000 }
          let waiting = try host.start(["rmmod", "--wait", "holdable"])
          try eventually("it is going") { try host.modules()["holdable"] == "going" }
          #expect(try Datagram.roundTrip(to: host.port))
          host.child.signal(signal)
          #expect(try host.child.wait().status == 0)
          #expect(access(host.control, F_OK) != 0)
          for module in ["conntrack", "counter", "holdable"] {
            #expect(host.child.error.contains("\(module) is gone\n"))
          }
          #expect(
            try holder.wait().error == "quiesce: cat: held: the host closed the connection (ECONNRESET)\n")
          // Hung up on, or just in time told that the module went with its holder.
          #expect([0, 1].contains(try waiting.wait().status))
          #expect(try host.run("lsmod").error == "quiesce: lsmod: no host at \(host.control) (ENOENT)\n")
        }
      }
    }

    @Test func hostNamesModulesThatStay() async throws {
      try await onThread {
        let host = try TestHost()
        try host.expectSuccess(of: "insmod", "permanent")
        try host.expectSuccess(of: "insmod", "counter")
        let outcome = try host.terminate()
        #expect(outcome.status == 1)
        #expect(outcome.error.contains("quiesce: host: permanent: permanent: it has no exit (EBUSY)\n"))
        #expect(outcome.error.contains("counter is gone\n"))
        #expect(access(host.control, F_OK) != 0)
      }
    }

    @Test func endsWithItsParent() async throws {
      try await onThread {
        let directory = try TemporaryDirectory()
        let control = directory.file("s")
        let modules = try Built.modules.get()
        let shell = try Child(
          "/bin/sh",
          [
            "-c",
            """
            '\(Built.quiesce)' host --listen 127.0.0.1:0 --forward 127.0.0.1:9 --control '\(control)' \
            --module-directory '\(modules)' --exit-with-parent & wait
            """,
          ])
        try eventually("the host serves") { shell.output.hasPrefix("listening ") }
        shell.signal(SIGKILL)
        _ = try shell.wait()
        try eventually("the host has ended") { access(control, F_OK) != 0 }
      }
    }

    @Test func onlyTheOwnerMayUseTheSocket() async throws {
      try await onThread {
        let host = try TestHost()
        var status = stat()
        #expect(lstat(host.control, &status) == 0)
        #expect(status.st_mode == S_IFSOCK | 0o600)
        #expect(status.st_uid == geteuid())
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func twoHostsDoNotShareASocketOrAnAddress() async throws {
      try await onThread {
        let host = try TestHost()
        let modules = try Built.modules.get()
        let second = try Child(
          Built.quiesce,
          [
            "host", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9", "--control", host.control,
            "--module-directory", modules,
          ]
        ).wait()
        #expect(second.status == 1 && second.output.isEmpty)
        #expect(
          second.error
            == "quiesce: host: control socket \(host.control): another host serves there (EADDRINUSE)\n")
        try host.expectService()

        let control = host.directory.file("other")
        let third = try Child(
          Built.quiesce,
          [
            "host", "--listen", "127.0.0.1:\(host.port)", "--forward", "127.0.0.1:9", "--control", control,
            "--module-directory", modules,
          ]
        ).wait()
        #expect(third.status == 1 && third.error.hasSuffix("(EADDRINUSE)\n"))
        #expect(access(control, F_OK) != 0)
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func staleSocketIsReplacedAndAFileIsNot() async throws {
      try await onThread {
        let directory = try TemporaryDirectory()
        let control = directory.file("s")
        let killed = try TestHost(control: control)
        killed.child.signal(SIGKILL)
        _ = try killed.child.wait()
        #expect(
          try killed.run("lsmod").error == "quiesce: lsmod: no host at \(control) (ECONNREFUSED)\n")
        let host = try TestHost(control: control)
        try host.expectService()
        #expect(try host.terminate().status == 0)

        try directory.write("precious", to: "file")
        let refused = try Self.host(control: directory.file("file"))
        #expect(refused.status == 1 && refused.error.hasSuffix("a file has this name (EEXIST)\n"))
        #expect(try directory.read("file") == "precious")
      }
    }

    @Test func failureToStartIsOneLine() async throws {
      try await onThread {
        let directory = try TemporaryDirectory()
        let long = directory.file(String(repeating: "x", count: 120))
        try directory.write("", to: "file")
        let cases = [
          (try Self.host(control: long), "ENAMETOOLONG"),
          (try Self.host(control: directory.file("missing/s")), "ENOENT"),
          (try Self.host(control: directory.file("s"), modules: directory.file("missing")), "ENOENT"),
          (try Self.host(control: directory.file("s"), modules: directory.file("file")), "ENOTDIR"),
          (try Self.host(control: directory.file("s"), listen: "nonsense"), "EINVAL"),
          (try Self.host(control: directory.file("s"), listen: "127.0.0.1:99999"), "EINVAL"),
          (try Self.host(control: directory.file("s"), listen: "192.0.2.1:0"), "EADDRNOTAVAIL"),
        ]
        for (outcome, errno) in cases {
          #expect(outcome.status == 1 && outcome.output.isEmpty)
          #expect(
            outcome.error.hasPrefix("quiesce: host: ") && outcome.error.hasSuffix(" (\(errno))\n"),
            "\(outcome.error)")
          #expect(outcome.error.split(separator: "\n").count == 1)
        }
        #expect(access(directory.file("s"), F_OK) != 0)
      }
    }

    /// A host that must not come up.
    private static func host(
      control: String, listen: String = "127.0.0.1:0", modules: String? = nil
    ) throws -> Child.Outcome {
      try Child(
        Built.quiesce,
        [
          "host", "--listen", listen, "--forward", "127.0.0.1:9", "--control", control,
          "--module-directory", try modules ?? Built.modules.get(),
        ]
      ).wait()
    }
  }
}
