import Foundation
import ModuleFiles
import ModuleManager
import Relay
import Synchronization
import Testing
import Traffic

/// A module in Embedded Swift, in a host whose Swift is another one.
@Suite struct SwiftModuleTests {
  private static func manager(for fixture: RelayFixture) -> ModuleManager {
    let manager = ModuleManager()
    for point in [fixture.relay.prerouting, fixture.relay.forward, fixture.relay.postrouting] {
      manager.provide(point)
    }
    return manager
  }

  /// The names in the second-to-last and last column of what `nm -D` prints.
  private func symbols(_ option: String, of path: String) throws -> [String] {
    let (process, pipe) = (Process(), Pipe())
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["nm", "-D", "--format=posix", option, path]
    process.standardOutput = pipe
    try process.run()
    let output = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    return output.split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
  }

  @Test func swiftModuleSharesNothingWithTheRuntimeOfTheHost() async throws {
    try await onOwnThread {
      let module = try SampleModule("ratelimit")
      let image = try ModuleInfo(path: module.path).image
      #expect(!image.hasSwiftMetadata && image.residency == nil && image.lastingCalls.isEmpty)
      #expect(
        image.needed.allSatisfy { $0.hasPrefix("libc.so") || $0.hasPrefix("libm.so") }, "\(image.needed)")
      #expect(try symbols("--defined-only", of: module.path) == ["quiescent_module"])
      let imported = try symbols("--undefined-only", of: module.path)
      #expect(imported.contains { $0.hasPrefix("clock_gettime") })
      for name in imported { #expect(!name.contains("swift") && !name.hasPrefix("$s"), "\(name)") }
    }
  }

  @Test func rateOfEachAddressIsLimited() async throws {
    try await onOwnThread {
      let module = try SampleModule("ratelimit")
      let fixture = try RelayFixture()
      let manager = Self.manager(for: fixture)
      let start = ContinuousClock.now
      try manager.load(path: module.path, parameters: ["rate": "1", "burst": "5"])
      var (sent, dropped) = (0, 0)
      // The first and the last have one address.
      for (address, expected) in [("127.0.0.1:0", 5), ("127.0.0.2:0", 5), ("127.0.0.1:0", 0)] {
        let client = try fixture.client(from: address)
        for _ in 0..<50 { try client.send([7]) }
        sent += 50
        try waitUntil("each one is dropped, or it is sent and its answer is") {
          let now = fixture.relay.statistics
          return now.dropped + now.sent / 2 == sent
        }
        let passed = 50 - (fixture.relay.statistics.dropped - dropped)
        // A token comes back each second.
        let more = Int((ContinuousClock.now - start) / .seconds(1))
        #expect((expected...expected + more).contains(passed), "\(address): \(passed)")
        for _ in 0..<passed { #expect(try client.receive() == [7]) }
        dropped += 50 - passed
      }
      #expect(fixture.relay.statistics.dropped == dropped && dropped >= 135)
      // Both can be changed while datagrams come. Nothing of the old rate is left.
      _ = try manager.set("rate", of: "ratelimit", to: "1000000000")
      _ = try manager.set("burst", of: "ratelimit", to: "1000000")
      let client = try fixture.client()
      for number in 0..<200 { #expect(try client.ask([UInt8(number)]) == [UInt8(number)]) }
      #expect(fixture.relay.statistics.dropped == dropped)
      try manager.unload("ratelimit")
    }
  }

  @Test func parametersOutOfRangeAreRefused() async throws {
    try await onOwnThread {
      let module = try SampleModule("ratelimit")
      let fixture = try RelayFixture()
      let manager = Self.manager(for: fixture)
      for parameters in [["rate": "0"], ["burst": "0"], ["rate": "1000000001"]] {
        let error = try #require(throws: ModuleError.self) {
          try manager.load(path: module.path, parameters: parameters)
        }
        #expect(error.errno == ERANGE, "\(error)")
      }
      #expect(manager.list().isEmpty)
    }
  }

  /// The module of README.md, word by word.
  @Test func moduleOfTheREADMEWorks() async throws {
    try await onOwnThread {
      let text = try String(contentsOf: SampleModule.tools.appending(path: "README.md"), encoding: .utf8)
      let section = try #require(text.components(separatedBy: "### Modules in Swift\n").last)
      func block(_ language: String) throws -> String {
        let start = try #require(section.range(of: "```\(language)\n"))
        let end = try #require(section.range(of: "```\n", range: start.upperBound..<section.endIndex))
        return String(section[start.upperBound..<end.lowerBound])
      }
      let path = try SampleModule.build("short", swift: block("swift"), c: block("c"))
      let fixture = try RelayFixture()
      let manager = Self.manager(for: fixture)
      try manager.load(path: path)
      let client = try fixture.client()
      try client.send([UInt8](repeating: 1, count: 1201))
      #expect(try client.ask([2]) == [2])
      #expect(fixture.relay.statistics.dropped == 1)
      try manager.unload("short")
    }
  }

  /// Each call of ModuleKit: hooks in order, a reference, a deferred call, the log; and a start
  /// that registers and then fails.
  @Test func swiftModuleUsesEveryServiceOfTheHost() async throws {
    try await onOwnThread {
      let path = try SampleModule.build(
        "services",
        swift: """
          import ModuleKit
          import QuiescePacket

          final class Freed {
            deinit { Module.log("freed") }
          }

          @_cdecl("module_start")
          func start() -> CInt {
            Module.start { () throws(Errno) in
              let freed = Freed()
              Module.log("starts \\(41 + 1)")
              try Module.register(quiesce_packet.self, typed: "quiesce.packet.1", on: "forward", priority: 2) {
                $0.data[0] = $0.data[0] &* 2
                return .accept
              }
              try Module.register(quiesce_packet.self, typed: "quiesce.packet.1", on: "forward", priority: 1) {
                $0.data[0] = $0.data[0] &+ 1
                // Given back at the end of the hook.
                guard let reference = try? ModuleReference() else { return .drop }
                _ = consume reference
                guard (try? Module.retire { withExtendedLifetime(freed) { Module.log("later") } }) != nil else {
                  return .drop
                }
                return .accept
              }
              if fails_value() { throw Errno(28) }
            }
          }

          @_cdecl("module_stop")
          func stop() -> CInt {
            Module.log("stops")
            return 0
          }

          """,
        c: """
          #include "services.h"
          bool fails = false;
          QUIESCENT_PARAMETER(fails, bool, "Whether its start fails");
          SWIFT_MODULE(.name = "services")

          """,
        header: """
          #pragma once
          #include <stdbool.h>
          #include "module_kit.h"
          SWIFT_PARAMETER(bool, fails)

          """)
      let fixture = try RelayFixture()
      let manager = Self.manager(for: fixture)
      let lines = Mutex<[String]>([])
      manager.setLog { _, line in lines.withLock { $0.append(line) } }
      try manager.load(path: path)
      // There and back: (((1 + 1) * 2) + 1) * 2.
      #expect(try fixture.client().ask([1]) == [10])
      // A call that comes after the end of `module_stop` may not log.
      try waitUntil("both deferred calls have run") { lines.withLock { $0.count } == 3 }
      try manager.unload("services", ifBusy: .wait)
      #expect(lines.withLock { $0 } == ["starts 42", "later", "later", "stops", "freed"])

      lines.withLock { $0 = [] }
      let error = try #require(throws: ModuleError.self) {
        try manager.load(path: path, parameters: ["fails": "yes"])
      }
      #expect(error.errno == 28)
      try waitUntil("it has gone") { manager.list().isEmpty }
      #expect(lines.withLock { $0 } == ["starts 42", "stops", "freed"])
    }
  }

  /// Without its hook point its start fails, and it is unmapped.
  @Test func swiftModuleWhoseStartFailsIsUnmapped() async throws {
    try await onOwnThread {
      let module = try SampleModule("ratelimit")
      let manager = ModuleManager()
      let error = try #require(throws: ModuleError.self) { try manager.load(path: module.path) }
      #expect(error.errno == ENOENT)
      try waitUntil("it has gone") { manager.list().isEmpty }
      let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
      #expect(!maps.contains(module.path))
    }
  }
}
