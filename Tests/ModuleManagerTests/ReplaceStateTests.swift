import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What a new version takes over from the old one: the values of parameters, and the state.
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

  // MARK: - State

  /// A version that counts its calls in its state, with a list that the state points to.
  private static func counting(
    _ name: String, _ digit: Int, version: Int = 1, initialize: String = "", more: String = ""
  ) -> String {
    Versions.module(
      name, digit,
      functions: """
        struct state { uint64_t calls; char *text; \(more) };
        static struct state *state;
        static int count(void *argument, void *context) {
          (void)context;
          ((struct argument *)argument)->calls += 1;
          __atomic_fetch_add(&state->calls, 1, __ATOMIC_RELAXED);
          return QUIESCENT_ACCEPT;
        }
        static long total(void *context, char *buffer, size_t capacity, uint64_t offset) {
          (void)context;
          if (offset > 0) return 0;
          return snprintf(buffer, capacity, "%lu %s", (unsigned long)state->calls, state->text);
        }
        """,
      initialize: """
        if (!QUIESCENT_HOST_HAS(h, state)) return -ENOSYS;
        state = h->state(s);
        if (state == NULL || (uintptr_t)state % 64 != 0) return -ENOMEM;
        if (state->text == NULL) state->text = strdup("from \(digit)");
        if ((error = h->register_hook(s, "point", "\(SampleModules.argumentType)", 1, count, NULL))) return error;
        if ((error = h->publish(s, "\(name)-total", total, NULL))) return error;
        \(initialize)
        """,
      exit: """
        struct state *mine = host->state(self);
        host->log(self, mine ? "frees \(digit)" : "keeps \(digit)");
        if (mine) free(mine->text);
        return 0;
        """, members: ", .state_version = \(version), .state_size = sizeof(struct state)")
  }

  @Test func stateOfTheSameLayoutIsGoneOnWith() async throws {
    let scene = Versions()
    try await scene.manager.load(path: Self.counting("stateful", 1))
    for _ in 0..<10 { _ = scene.call() }
    let replacement = try await scene.manager.replace("stateful", with: Self.counting("stateful", 2))
    #expect(replacement.keepsState && replacement.isUnmapped)
    for _ in 0..<5 { _ = scene.call() }
    #expect(try scene.read("stateful-total") == "15 from 1")
    #expect(scene.log.all == ["stateful: keeps 1"], "what the state points to is not freed")
    // Another number, and another size: each begins anew, and the old state is freed.
    #expect(
      try await !scene.manager.replace("stateful", with: Self.counting("stateful", 3, version: 2)).keepsState)
    #expect(try scene.read("stateful-total") == "0 from 3")
    #expect(
      try await !scene.manager.replace(
        "stateful", with: Self.counting("stateful", 4, version: 2, more: "int larger;")
      ).keepsState)
    #expect(try scene.read("stateful-total") == "0 from 4")
    // And one without a state.
    #expect(try await !scene.manager.replace("stateful", with: Versions.module("stateful", 5)).keepsState)
    #expect(
      scene.log.all == ["stateful: keeps 1", "stateful: frees 2", "stateful: frees 3", "stateful: frees 4"])
    try await scene.manager.unload("stateful")
  }

  /// Every call is counted, while both versions run.
  @Test func noCountIsLost() async throws {
    let scene = Versions()
    let paths = [Self.counting("exact", 1), Self.counting("exact", 2)]
    try await scene.manager.load(path: paths[0])
    let (calls, turns, wrong) = (Counter(), Counter(), Counter())
    await onThreads(3) { index in
      while turns.value < 50 {
        if index == 0 {
          let replacement = try? scene.manager.replace("exact", with: paths[(turns.value + 1) % 2])
          if replacement?.keepsState != true { wrong.add(1) }
          turns.add(1)
        } else {
          _ = scene.call()
          calls.add(1)
        }
      }
    }
    #expect(wrong.value == 0 && calls.value > 0)
    #expect(try scene.read("exact-total") == "\(calls.value) from 1")
    try await scene.manager.unload("exact")
    #expect(scene.log.all.count == 51 && scene.log.all.last?.contains("frees") == true)
  }

  /// A version that fails leaves the state to the old one; one that finds the old one unloaded is
  /// the last that has it.
  @Test func failedVersionLeavesTheState() async throws {
    let scene = Versions(isPatient: false)
    try await scene.manager.load(path: Self.counting("kept", 1))
    _ = scene.call()
    let failing = Self.counting("kept", 2, initialize: "return -ENODEV;")
    #expect(await moduleError { try await scene.manager.replace("kept", with: failing) }?.errno == ENODEV)
    #expect(try scene.read("kept-total") == "1 from 1")
    let gate = Misbehavior.Gate()
    let slow = Self.counting("kept", 3, initialize: gate.wait)
    let manager = scene.manager
    let replacement = Task { try await manager.replace("kept", with: slow) }
    await scene.whenInside("kept", .initialize)
    #expect(try await manager.unload("kept").isUnmapped)
    #expect(scene.log.all == ["kept: keeps 1"])
    gate.open()
    let error = await moduleError { try await replacement.value }
    #expect(error?.description == "kept: has been unloaded meanwhile (ENOENT)")
    await scene.whenListed(0, "kept")
    #expect(scene.log.all == ["kept: keeps 1", "kept: frees 3"])
    #expect(!isMapped(slow))
  }

  @Test func stateWithoutMemoryIsENOMEM() async throws {
    let scene = Versions()
    let path = Versions.module("huge", 1, members: ", .state_size = (uint64_t)1 << 62")
    let error = await moduleError { try await scene.manager.load(path: path) }
    #expect(error?.description == "huge: no memory for its state of \(UInt64(1) << 62) bytes (ENOMEM)")
    #expect(!isMapped(path) && scene.manager.list().isEmpty)
  }

  /// Images that were built with a header that ends before the state, or before all optional
  /// fields.
  @Test(arguments: [96, 80, 56, 48])
  func imagesOfOlderHeadersAreReplaced(_ size: Int) async throws {
    let scene = Versions()
    // What lies behind `size` is another variable's.
    let older = SampleModules.build(
      "older-\(size)",
      """
      static int hook(void *argument, void *context) {
        struct argument *a = argument;
        a->calls += 1;
        a->cookie = a->cookie * 10 + 7;
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        if (QUIESCENT_HOST_HAS(h, state) && h->state(s) != NULL) return -EEXIST;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      __attribute__((visibility("default"))) extern const struct quiescent_module quiescent_module;
      const struct quiescent_module quiescent_module = {
        .abi = QUIESCENT_MODULE_ABI, .size = \(size), .name = "older", .init = init, .exit = leave,
        .state_version = 1, .state_size = 4096 };
      """)
    try await scene.manager.load(path: older)
    #expect(scene.call() == 7)
    #expect(try await !scene.manager.replace("older", with: Self.counting("older", 8)).keepsState)
    #expect(scene.call() == 8)
    #expect(try await !scene.manager.replace("older", with: older).keepsState)
    #expect(scene.call() == 7)
    try await scene.manager.unload("older")
  }
}
