import Foundation
import ModuleFiles
import ModuleManager
import Quiescence
import Synchronization
import TestSupport
import Testing

/// What modules are told at load and later: checked, and the same for both kinds of modules.
@Suite struct ParameterTests {
  typealias Argument = SampleModules.Argument
  let manager = ModuleManager()
  let point = HookPoint<Argument, Memb>(
    "point", argumentType: SampleModules.argumentType, flavor: Memb.self)

  init() { manager.provide(point) }

  private func error<Value>(_ body: () async throws(ModuleError) -> Value) async -> ModuleError? {
    do {
      _ = try await body()
      return nil
    } catch { return error }
  }

  private func value(_ parameter: String, of module: String) async throws -> String? {
    try await manager.parameters(of: module).first { $0.name == parameter }?.value
  }

  /// One parameter of each kind; its hook shows `limit` to the caller.
  private func module(_ name: String) -> String {
    SampleModules.custom(
      name,
      """
      #include <stdbool.h>
      static int limit = 64;
      static bool loud;
      static uint64_t large = 1;
      static signed char small = -3;
      static char label[8] = "first";
      static unsigned short ports[3] = {53, 80};
      static uint32_t port_count = 2;
      static int in_init;
      static int refuse_odd(const struct quiescent_parameter *p, const void *value, size_t count) {
        (void)p;
        return count == 1 && *(const signed char *)value % 2 == 0 ? 0 : -EDOM;
      }
      static int take_label(const struct quiescent_parameter *p, const void *value, size_t count) {
        (void)p;
        if (count != strlen(value)) return -EBADMSG;
        if (!strcmp(value, "bad")) return -EACCES;
        strcpy(label, value);
        return 0;
      }
      static int take_ports(const struct quiescent_parameter *p, const void *value, size_t count) {
        (void)p;
        const unsigned short *new = value;
        for (size_t i = 0; i < count; i++) if (new[i] == 13) return -EACCES;
        memcpy(ports, value, count * sizeof *ports);
        port_count = (uint32_t)count;
        return 0;
      }
      QUIESCENT_PARAMETER(limit, int, "Shorter ones are dropped", .minimum = 1, .maximum = 1500,
                          .flags = QUIESCENT_WRITABLE);
      QUIESCENT_PARAMETER(loud, bool, "Says more");
      QUIESCENT_PARAMETER(large, uint, "Large", .flags = QUIESCENT_WRITABLE);
      QUIESCENT_PARAMETER(small, int, "Even later", .flags = QUIESCENT_WRITABLE, .set = refuse_odd);
      QUIESCENT_PARAMETER(label, string, "A name", .flags = QUIESCENT_WRITABLE, .set = take_label);
      QUIESCENT_PARAMETER_LIST(ports, port_count, uint, "Ports", .flags = QUIESCENT_WRITABLE, .set = take_ports);
      static int hook(void *argument, void *context) {
        (void)context;
        ((struct argument *)argument)->cookie = __atomic_load_n(&limit, __ATOMIC_RELAXED);
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        in_init = limit;
        if (!strcmp(label, "refuse")) return -EDOM;
        (void)in_init;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      """, ".init = init, .exit = leave")
  }

  @Test func defaultsCanBeRead() async throws {
    let path = module("defaults")
    let infos = try ModuleInfo(path: path).values("parm")
    #expect(
      infos == [
        "limit:Shorter ones are dropped (int)", "loud:Says more (bool)", "large:Large (uint)",
        "small:Even later (int)", "label:A name (string)", "ports:Ports (list of uint)",
      ])
    try await manager.load(path: path)
    let all = try await manager.parameters(of: "defaults")
    #expect(
      all.map { "\($0.name)=\($0.value)" }
        == ["limit=64", "loud=no", "large=1", "small=-3", "label=first", "ports=53,80"])
    #expect(all.map(\.type) == ["int", "bool", "uint", "int", "string", "list of uint"])
    #expect(all.map(\.isWritable) == [true, false, true, true, true, true])
    try await manager.unload("defaults")
    let gone = await error { () async throws(ModuleError) in try await manager.parameters(of: "defaults") }
    #expect(gone?.errno == ENOENT)
  }

  @Test func givenParametersAreSetBeforeInit() async throws {
    let path = module("given")
    let given = [
      "limit": "1500", "loud": "Yes", "large": "18446744073709551615", "small": "-128", "label": "1234567",
      "ports": "1,65535,3",
    ]
    try await manager.load(path: path, parameters: given)
    for parameter in try await manager.parameters(of: "given") {
      let expected = parameter.name == "loud" ? "yes" : given[parameter.name]
      #expect(parameter.value == expected)
    }
    var argument = Argument()
    _ = point.dispatch(&argument)
    #expect(argument.cookie == 1500)
    try await manager.unload("given")
    // A new mapping has its defaults again.
    try await manager.load(path: path)
    #expect(try await value("limit", of: "given") == "64")
    try await manager.unload("given")
    let refused = await error { () async throws(ModuleError) in
      try await manager.load(path: path, parameters: ["label": "refuse"])
    }
    #expect(refused?.errno == EDOM)
    await whenGone("given", manager)
    #expect(!isMapped(path))
  }

  static let nonsense: [(String, String, Int32, String)] = [
    ("nosuch", "1", ENOENT, "has no parameter 'nosuch'; it has limit, loud, large, small, label, ports"),
    ("limit", "0", ERANGE, "limit: 0 is not from 1 to 1500"),
    ("limit", "1501", ERANGE, "limit: 1501 is not from 1 to 1500"),
    ("limit", "99999999999999999999", ERANGE, "limit: 99999999999999999999 is not from 1 to 1500"),
    ("limit", "12x", EINVAL, "limit: '12x' is no integer"),
    ("limit", "", EINVAL, "limit: '' is no integer"),
    ("limit", "+-5", EINVAL, "limit: '+-5' is no integer"),
    ("limit", "+", EINVAL, "limit: '+' is no integer"),
    ("limit", "0x", EINVAL, "limit: '0x' is no integer"),
    ("limit", "0x-5", EINVAL, "limit: '0x-5' is no integer"),
    ("limit", "0xg", EINVAL, "limit: '0xg' is no integer"),
    ("limit", "08", EINVAL, "limit: '08' is no integer"),
    ("limit", "0b2", EINVAL, "limit: '0b2' is no integer"),
    ("limit", "0x5dd", ERANGE, "limit: 0x5dd is not from 1 to 1500"),
    ("large", "0x10000000000000000", ERANGE, "0x10000000000000000 is not from 0 to 18446744073709551615"),
    ("limit", "-", EINVAL, "limit: '-' is no integer"),
    ("limit", "٣", EINVAL, "limit: '٣' is no integer"),
    ("limit", String(repeating: "z", count: 10_000), EINVAL, "' is no integer"),
    ("large", "-1", ERANGE, "large: -1 is not from 0 to 18446744073709551615"),
    ("small", "128", ERANGE, "small: 128 is not from -128 to 127"),
    ("label", "12345678", ENAMETOOLONG, "label: longer than 7 bytes"),
    ("label", "a\0b", EINVAL, "label: a string has no zero bytes"),
    ("ports", "1,2,3,4", E2BIG, "ports: 4 elements are more than 3"),
    ("ports", "1,,2", EINVAL, "ports: '' is no integer"),
    ("ports", "65536", ERANGE, "ports: 65536 is not from 0 to 65535"),
  ]

  /// A limit that was not given, one that does not fit the type, and a range with nothing in it.
  @Test func rangesOfEveryShape() async throws {
    func path(_ name: String, _ type: String, _ kind: String, _ range: String) -> String {
      SampleModules.custom(
        name,
        """
        static \(type) x = 1;
        QUIESCENT_PARAMETER(x, \(kind), "x" \(range));
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return 0; }
        static int leave(void) { return 0; }
        """, ".init = init, .exit = leave")
    }
    let cases = [
      ("int", "int", ", .minimum = 1", "0", "1 to 2147483647"),
      ("int", "int", ", .maximum = -1", "0", "-2147483648 to -1"),
      ("int", "int", ", .minimum = -5", "1", "-5 to 0"),
      ("signed char", "int", ", .minimum = -300, .maximum = 300", "300", "-128 to 127"),
      ("unsigned char", "uint", ", .minimum = 3", "256", "3 to 255"),
      ("unsigned char", "uint", ", .maximum = 9999", "256", "0 to 255"),
      ("uint64_t", "uint", "", "18446744073709551616", "0 to 18446744073709551615"),
      ("long", "int", "", "9223372036854775808", "-9223372036854775808 to 9223372036854775807"),
    ]
    for (number, (type, kind, range, value, words)) in cases.enumerated() {
      let path = path("range\(number)", type, kind, range)
      let error = await error { () async throws(ModuleError) in
        try await manager.load(path: path, parameters: ["x": value])
      }
      #expect(error?.reason == "x: \(value) is not from \(words)")
    }
    let empty = path("empty", "int", "int", ", .minimum = 5, .maximum = 3")
    let error = await error { () async throws(ModuleError) in try await manager.load(path: empty) }
    #expect(error?.errno == EINVAL && error?.reason == "its parameter number 1 is none")
    #expect(!isMapped(empty))
  }

  /// One line each, at load and later, and nothing half done.
  @Test func invalidValuesAreRefused() async throws {
    let path = module("nonsense")
    for (parameter, value, errno, reason) in Self.nonsense {
      // With a good one that would come first.
      let error = await error { () async throws(ModuleError) in
        try await manager.load(
          path: path, parameters: ["large": "7"].merging([parameter: value]) { _, bad in bad })
      }
      #expect(error?.errno == errno && error?.reason.hasSuffix(reason) == true, "\(error?.description ?? "")")
      #expect(error?.module == "nonsense" && error?.description.contains("\n") == false)
      #expect(!isMapped(path) && manager.list().isEmpty)
    }
    try await manager.load(path: path)
    let before = try await manager.parameters(of: "nonsense")
    for (parameter, value, errno, reason) in Self.nonsense {
      let error = await error { () async throws(ModuleError) in
        try await manager.set(parameter, of: "nonsense", to: value)
      }
      #expect(error?.errno == errno && error?.reason.hasSuffix(reason) == true, "\(error?.description ?? "")")
    }
    #expect(try await manager.parameters(of: "nonsense") == before)
    try await manager.unload("nonsense")
  }

  /// As on Linux, and as TOML writes them.
  @Test func integersMayHaveASignAndABase() async throws {
    try await manager.load(path: module("based"), parameters: ["limit": "0x1F", "ports": "010,+53,0o11"])
    func value(_ name: String) async throws -> String? {
      try await manager.parameters(of: "based").first { $0.name == name }?.value
    }
    #expect(try await value("limit") == "31")
    #expect(try await value("ports") == "8,53,9")
    for (parameter, text, expected) in [
      ("limit", "+1500", "1500"), ("limit", "0b101", "5"), ("limit", "00017", "15"), ("limit", "0X10", "16"),
      ("small", "-0x80", "-128"), ("small", "-010", "-8"), ("small", "0", "0"), ("small", "-0", "0"),
      ("large", "0xffffffffffffffff", "18446744073709551615"), ("large", "-0", "0"),
    ] {
      try await manager.set(parameter, of: "based", to: text)
      #expect(try await value(parameter) == expected, "\(parameter)=\(text)")
    }
    try await manager.unload("based")
  }

  @Test func moduleMayRefuseAChange() async throws {
    try await manager.load(path: module("asked"))
    try await manager.set("limit", of: "asked", to: "100")
    var argument = Argument()
    _ = point.dispatch(&argument)
    #expect(argument.cookie == 100)
    try await manager.set("small", of: "asked", to: "-4")
    try await manager.set("label", of: "asked", to: "second")
    try await manager.set("ports", of: "asked", to: "7,8,9")
    try await manager.set("ports", of: "asked", to: "")
    try await manager.set("ports", of: "asked", to: "443")
    for (parameter, value, errno) in [
      ("small", "5", EDOM), ("label", "bad", EACCES), ("ports", "12,13", EACCES), ("loud", "yes", EPERM),
    ] {
      let error = await error { () async throws(ModuleError) in
        try await manager.set(parameter, of: "asked", to: value)
      }
      #expect(error?.errno == errno, "\(error?.description ?? "")")
    }
    let all = try await manager.parameters(of: "asked")
    #expect(all.map(\.value) == ["100", "no", "1", "-4", "second", "443"])
    try await manager.unload("asked")
  }

  /// While a thread changes it, hooks see one of the numbers that it was given, never a mixture.
  @Test func hooksReadParametersDuringWrites() async throws {
    let manager = manager
    let point = point
    try await manager.load(path: module("torn"))
    try await manager.set("limit", of: "torn", to: "255")
    let done = Counter(), reads = Counter(), wrong = Counter()
    async let readers: Void = onThreads(1) { _ in
      var argument = Argument()
      while done.value == 0 {
        _ = point.dispatch(&argument)
        if argument.cookie != 255 && argument.cookie != 1280 { wrong.add(1) }
        reads.add(1)
      }
    }
    while reads.value < 1000 { await Task.yield() }
    for round in 0..<20_000 {
      try await manager.set("limit", of: "torn", to: round % 2 == 0 ? "1280" : "255")
    }
    done.add(1)
    await readers
    #expect(wrong.value == 0, "\(wrong.value) of \(reads.value)")
    try await manager.unload("torn")
  }

  @Test func builtInModulesHaveParameters() async throws {
    let limit = ModuleParameter("limit", 64, in: 1...1500, isWritable: true) { $0 % 2 == 0 ? 0 : -EDOM }
    let loud = ModuleParameter("loud", false)
    let label = ModuleParameter("label", "first", atMost: 7, isWritable: true)
    let ports = ModuleParameter("ports", [53, 80], in: 0...65535, atMost: 3, isWritable: true)
    let builtIn = BuiltInModule(
      "inside",
      parameters: [
        AnyModuleParameter(limit), AnyModuleParameter(loud), AnyModuleParameter(label),
        AnyModuleParameter(ports),
      ]
    ) { host in limit.value == 2 ? -EDOM : 0 }
    for (parameter, value, errno, reason) in Self.nonsense where !["large", "small"].contains(parameter) {
      let error = await error { () async throws(ModuleError) in
        try await manager.load(builtIn, parameters: [parameter: value, "loud": "on"])
      }
      #expect(error?.errno == errno, "\(error?.description ?? "")")
      #expect(parameter == "nosuch" || error?.reason.hasSuffix(reason) == true, "\(error?.description ?? "")")
      #expect(!loud.value, "half done")
    }
    try await manager.load(builtIn, parameters: ["limit": "128", "loud": "on", "ports": "1,2,3"])
    #expect(limit.value == 128 && loud.value && label.value == "first" && ports.value == [1, 2, 3])
    try await manager.set("limit", of: "inside", to: "256")
    try await manager.set("label", of: "inside", to: "second")
    #expect(limit.value == 256 && label.value == "second")
    let odd = await error { () async throws(ModuleError) in
      try await manager.set("limit", of: "inside", to: "3")
    }
    #expect(odd?.description == "inside: limit: the module refuses '3' (\(errnoName(EDOM)))")
    let fixed = await error { () async throws(ModuleError) in
      try await manager.set("loud", of: "inside", to: "no")
    }
    #expect(fixed?.errno == EPERM)
    #expect(try await manager.parameters(of: "inside").map(\.value) == ["256", "yes", "second", "1,2,3"])
    try await manager.unload("inside")
  }

  @Test func requestPassesParametersToTheRequestedModule() async throws {
    let folder = ModuleFolder()
    await folder.add("base")
    await folder.add(
      "top",
      #"QUIESCENT_DEPENDS("base"); static int limit = 1; QUIESCENT_PARAMETER(limit, int, "A limit");"#)
    try manager.setDirectory(folder.path)
    let bad = await error { () async throws(ModuleError) in
      try await manager.request("top", parameters: ["limit": "x"])
    }
    #expect(bad?.description == "top: limit: 'x' is no integer (EINVAL)")
    #expect(manager.list().map(\.name) == ["base"])
    try await manager.request("top", parameters: ["limit": "5"])
    #expect(try await value("limit", of: "top") == "5")
    let again = await error { () async throws(ModuleError) in
      try await manager.request("top", parameters: ["limit": "6"])
    }
    #expect(again?.errno == EEXIST)
    #expect(try await value("limit", of: "top") == "5")
    try await manager.unloadWithUnused("top")
  }
}
