import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What a new version takes over from the old one: the values of parameters.
@Suite(.timeLimit(.minutes(10))) struct ReplaceStateTests {
  private static let declared = """
    static int limit = 64;
    static char label[8] = "first";
    static unsigned short ports[3] = {53, 80};
    static uint32_t port_count = 2;
    static int outside;
    QUIESCENT_PARAMETER(limit, int, "a number", .minimum = 1, .maximum = 1500, .flags = QUIESCENT_WRITABLE);
    QUIESCENT_PARAMETER(label, string, "a string");
    QUIESCENT_PARAMETER_LIST(ports, port_count, uint, "a list");
    QUIESCENT_PARAMETER(outside, int, "its default is out of its range", .minimum = 1, .maximum = 2);

    """

  @Test func parametersKeepTheirValues() async throws {
    let scene = Versions()
    let first = Versions.module("tuned", 1, functions: Self.declared)
    let second = Versions.module(
      "tuned", 2,
      functions: Self.declared + """
        static int seen;
        static int more = 5;
        QUIESCENT_PARAMETER(seen, int, "what init has found");
        QUIESCENT_PARAMETER(more, int, "only here");

        """, initialize: "seen = limit;")
    try await scene.manager.load(path: first, parameters: ["label": "changed", "ports": "1,2,3"])
    try await scene.manager.set("limit", of: "tuned", to: "100")
    try await scene.manager.replace("tuned", with: second, parameters: ["ports": "7"])
    let values = try await scene.manager.parameters(of: "tuned").map { "\($0.name)=\($0.value)" }
    #expect(
      Set(values) == ["limit=100", "label=changed", "ports=7", "outside=0", "seen=100", "more=5"],
      "what was asked for wins, and init finds them set")
    // Back: what the old version does not have is left out.
    try await scene.manager.replace("tuned", with: first)
    #expect(try await scene.value("limit", of: "tuned") == "100")
    #expect(try await scene.value("ports", of: "tuned") == "7")
    let error = await moduleError {
      try await scene.manager.replace("tuned", with: second, parameters: ["nosuch": "1"])
    }
    #expect(error?.errno == ENOENT && error?.reason.hasPrefix("has no parameter 'nosuch'") == true)
    try await scene.manager.unload("tuned")
  }

  @Test func valueThatTheNewVersionRefusesEndsTheReplacement() async throws {
    let scene = Versions()
    let first = Versions.module("narrow", 1, functions: Self.declared)
    let narrow = Versions.module(
      "narrow", 2,
      functions: """
        static int limit = 10;
        QUIESCENT_PARAMETER(limit, int, "a number", .minimum = 1, .maximum = 50);

        """)
    try await scene.manager.load(path: first)
    let error = await moduleError { try await scene.manager.replace("narrow", with: narrow) }
    #expect(
      error?.description
        == "narrow: limit: the new version refuses its present value: 64 is not from 1 to 50 (ERANGE)")
    #expect(scene.call() == 1 && scene.rows("narrow").map(\.version) == ["1"] && !isMapped(narrow))
    #expect(try await scene.value("limit", of: "narrow") == "64")
    try await scene.manager.replace("narrow", with: narrow, parameters: ["limit": "50"])
    #expect(try await scene.value("limit", of: "narrow") == "50" && scene.call() == 2)
    try await scene.manager.unload("narrow")
  }

  /// A change that comes while the new version starts is not lost.
  @Test func valueThatChangesMeanwhileIsCarriedOver() async throws {
    let scene = Versions(isPatient: false)
    let gate = Misbehavior.Gate()
    let settable = """
      static int limit = 64;
      static int refuse_odd(const struct quiescent_parameter *p, const void *value, size_t count) {
        (void)p, (void)count;
        return *(const int *)value % 2 == 0 ? 0 : -EDOM;
      }
      """
    let writable = """
      QUIESCENT_PARAMETER(limit, int, "a number", .flags = QUIESCENT_WRITABLE);

      """
    let picky = """
      QUIESCENT_PARAMETER(limit, int, "a number", .flags = QUIESCENT_WRITABLE, .set = refuse_odd);

      """
    let fixed = """
      QUIESCENT_PARAMETER(limit, int, "a number");

      """
    try await scene.manager.load(
      path: Versions.module(
        "moving", 1, functions: settable + writable,
        options: ["-Wno-unused-function"]))
    func start(_ digit: Int, _ declared: String, _ gate: Misbehavior.Gate) -> Task<
      ModuleReplacement, any Error
    > {
      let path = Versions.module(
        "moving", digit, functions: settable + declared, initialize: gate.wait,
        options: ["-Wno-unused-function"])
      return Task { try await scene.manager.replace("moving", with: path) }
    }
    let second = start(2, picky, gate)
    await scene.whenInside("moving", .initialize)
    try await scene.manager.set("limit", of: "moving", to: "100")
    #expect(scene.call() == 1)
    gate.open()
    #expect(try await second.value.isUnmapped)
    #expect(try await scene.value("limit", of: "moving") == "100" && scene.call() == 2)
    // One that cannot be changed any more, and one that is refused.
    let (gate3, gate4) = (Misbehavior.Gate(), Misbehavior.Gate())
    let third = start(3, fixed, gate3)
    await scene.whenInside("moving", .initialize)
    try await scene.manager.set("limit", of: "moving", to: "102")
    gate3.open()
    let late = await moduleError { try await third.value }
    #expect(
      late?.description
        == "moving: limit: was changed while the new version started, which cannot change it (EAGAIN)")
    await scene.whenListed(1, "moving")
    try await scene.manager.replace(
      "moving",
      with: Versions.module("moving", 5, functions: settable + writable, options: ["-Wno-unused-function"]))
    let fourth = start(4, picky, gate4)
    await scene.whenInside("moving", .initialize)
    try await scene.manager.set("limit", of: "moving", to: "103")
    gate4.open()
    let refused = await moduleError { try await fourth.value }
    #expect(
      refused?.description == "moving: limit: the new version refuses its present value (EDOM)")
    await scene.whenListed(1, "moving")
    #expect(scene.call() == 5 && !scene.rows("moving").isEmpty)
    #expect(try await scene.value("limit", of: "moving") == "103")
    try await scene.manager.unload("moving")
  }
}
