import TestSupport
import Testing

/// Code that would use memory after it was freed, and that the compiler must refuse.
@Suite struct RefusedCodeTests {
  struct Refusal: Sendable, CustomTestStringConvertible {
    let rule: String
    let code: String
    let message: String
    var testDescription: String { rule }
  }

  @Test(
    arguments: [
      Refusal(
        rule: "a reference is not returned from its section",
        code: "func f() { let x = Memb.read { s in return box.load(s) }; print(x.value) }",
        message: "requires that 'Borrowed<[Int]>' conform to 'Escapable'"),
      Refusal(
        rule: "a reference is not stored outside its section",
        code: """
          func f() {
            var out: Borrowed<[Int]>? = nil
            Memb.read { s in out = box.load(s) }
            print(out != nil)
          }
          """,
        message: "lifetime-dependent variable 'out' escapes its scope"),
      Refusal(
        rule: "a reference is not captured by a closure that stays",
        code: "func f() -> () -> Int { Memb.read { s in let b = box.load(s); return { b.value.count } } }",
        message: "lifetime-dependent variable 'b' escapes its scope"),
      Refusal(
        rule: "a section is not handed to a task",
        code: "func f() -> Task<Int, Never> { Memb.read { s in Task { box.load(s).value.count } } }",
        message: "escaping closure captures 'inout' parameter 's'"),
      Refusal(
        rule: "a noncopyable value is not taken out of its box",
        code: "func f() -> Key { key.read { k in k } }",
        message: "'k' is borrowed and cannot be consumed"),
      Refusal(
        rule: "a section does not suspend",
        code:
          "func f() async -> Int { await Memb.read { s in let b = box.load(s); return await g() + b.value.count } }",
        message:
          "cannot pass function of type '(inout ReadSection<Memb>) async -> Int' to parameter expecting synchronous"
      ),
      Refusal(
        rule: "a read of one box does not suspend",
        code: "func f() async -> Int { await box.read { v in await g() + v.count } }",
        message: "async -> Int' to parameter expecting synchronous function type"),
      Refusal(
        rule: "a quiescent state is not said while something is borrowed",
        code: """
          func f() -> Int {
            QSBR.withOnlineReader { r in let b = fast.load(r); r.quiescentState(); return b.value }
          }
          """,
        message: "overlapping accesses to 'r', but modification requires exclusive access"),
      Refusal(
        rule: "a reader does not go offline while something is borrowed",
        code: """
          func f() -> Int {
            QSBR.withOnlineReader { r in let b = fast.load(r); r.offline {}; return b.value }
          }
          """,
        message: "overlapping accesses to 'r', but modification requires exclusive access"),
      Refusal(
        rule: "an online reader does not synchronize while something is borrowed",
        code: """
          func f() -> Int {
            QSBR.withOnlineReader { r in let b = fast.load(r); r.synchronize(); return b.value }
          }
          """,
        message: "overlapping accesses to 'r', but modification requires exclusive access"),
      Refusal(
        rule: "a section of one flavor does not protect a box of another",
        code: "func f() -> Int { Memb.read { s in fast.load(s).value } }",
        message:
          "cannot convert value of type 'ReadSection<Memb>' to expected argument type 'ReadSection<QSBR>'"),
      Refusal(
        rule: "asynchronous code does not block in a grace period",
        code: "func f() async { Memb.synchronize() }",
        message: "expression is 'async' but is not marked with 'await'"),
      Refusal(
        rule: "a section is not made by hand",
        code: "func f() { let s = ReadSection<Memb>(entered: ()); print(box.load(s).value) }",
        message: "initializer is inaccessible due to 'internal' protection level"),
    ]
      + cells + sleepable)
  func refused(_ refusal: Refusal) async {
    let result = await Compiler.swift(Self.preamble + refusal.code)
    #expect(result.status != 0)
    #expect(result.output.contains(refusal.message), "\(result.output)")
  }

  /// Values that belong to a box, and would point to the box's former place.
  static let cells = [
    Refusal(
      rule: "a projection does not outlive its box",
      code: """
        func f() -> Int {
          let hops: Projection<[Int], Int, Memb>
          do { let local = RCUBox([1]); hops = local.map(\\.count) }
          return hops.read { $0 }
        }
        """,
      message: "lifetime-dependent variable 'hops' escapes its scope"),
    Refusal(
      rule: "a projection is not of a temporary box",
      code: "func f() -> Int { let hops = RCUBox([1]).map(\\.count); return hops.read { $0 } }",
      message: "lifetime-dependent variable 'hops' escapes its scope"),
    Refusal(
      rule: "a projection is not stored in what escapes",
      code: "struct Keep { let hops: Projection<[Int], Int, Memb> }",
      message: "stored property 'hops' of 'Escapable'-conforming struct 'Keep' has non-Escapable type"),
    Refusal(
      rule: "a projection is not captured by a closure that stays",
      code: "func f() -> () -> Int { box.lend { b in let n = b.map(\\.count); return { n.read { $0 } } } }",
      message: "lifetime-dependent variable 'n' escapes its scope"),
    Refusal(
      rule: "a projection does not leave the lending of its box",
      code: "func f() { let n = box.lend { b in return b.map(\\.count) }; print(n.read { $0 }) }",
      message: "requires that 'Projection<[Int], Int, Memb>' conform to 'Escapable'"),
    Refusal(
      rule: "a local box is not moved away under its projection",
      code: """
        func take(_ box: consuming RCUBox<[Int], Memb>) {}
        func f() -> Int { let b = RCUBox([1]); let n = b.map(\\.count); take(b); return n.read { $0 } }
        """,
      message: "lifetime-dependent variable 'n' escapes its scope"),
    Refusal(
      rule: "a local box is not moved away under its cache",
      code: """
        func take(_ box: consuming RCUBox<[Int], Memb>) {}
        func f() -> [Int] { let b = RCUBox([1]); var c = b.cached(); take(b); return c.snapshot() }
        """,
      message: "lifetime-dependent variable 'c' escapes its scope"),
    Refusal(
      rule: "a box that is lent is not moved away",
      code: """
        func take(_ box: consuming RCUBox<[Int], Memb>) {}
        func f() -> Int {
          let b = RCUBox([1])
          return b.lend { lent in let n = lent.map(\\.count); take(b); return n.read { $0 } }
        }
        """,
      message: "'b' is borrowed and cannot be consumed"),
    Refusal(
      rule: "a variable box is not assigned under its projection",
      code: """
        func f() -> Int { var b = RCUBox([1]); let n = b.map(\\.count); b = RCUBox([2]); return n.read { $0 } }
        """,
      message: "overlapping accesses to 'b', but modification requires exclusive access"),
    Refusal(
      rule: "a noncopyable part is not taken out of a projection",
      code:
        "func f() -> Key { let part = key.map(lending: { k, lend in lend(k) }); return part.read { k in k } }",
      message: "'k' is borrowed and cannot be consumed"),
    Refusal(
      rule: "a cache is not handed to a task",
      code: "func f() -> Task<[Int], Never> { var c = box.cached(); return Task { c.snapshot() } }",
      message: "lifetime-dependent variable 'c' escapes its scope"),
    Refusal(
      rule: "a cache is not Sendable",
      code: """
        func send<T: Sendable & ~Copyable & ~Escapable>(_ value: borrowing T) {}
        func f() { let c = box.cached(); send(c) }
        """,
      message: "type 'Cached<[Int], [Int], Memb>' does not conform to the 'Sendable' protocol"),
    Refusal(
      rule: "a shared box's cache is not copied",
      code: "func f(_ c: borrowing SharedRCUBox<Int, Memb>.Cache) { let d = c; _ = d }",
      message: "'c' is borrowed and cannot be consumed"),
    Refusal(
      rule: "a shared box's cache is not Sendable",
      code: """
        func send<T: Sendable & ~Copyable>(_ value: borrowing T) {}
        func f() { let c = SharedRCUBox(1).cache(); send(c) }
        """,
      message: "a cache belongs to one reader"),
    Refusal(
      rule: "a cache does not outlive its box",
      code: """
        func f() -> [Int] {
          var c: Cached<[Int], [Int], Memb>
          do { let local = RCUBox([1]); c = local.cached() }
          return c.snapshot()
        }
        """,
      message: "lifetime-dependent variable 'c' escapes its scope"),
    Refusal(
      rule: "what a version was expected to be is loaded in a section that is open",
      code: """
        func f() {
          let seen = Memb.read { s in return box.load(s) }
          _ = box.compareExchange(seen, with: [3])
        }
        """,
      message: "requires that 'Borrowed<[Int]>' conform to 'Escapable'"),
  ]

  /// Values that may be suspended together with their section, and still must not leave it.
  static let sleepable = [
    Refusal(
      rule: "a reference is not returned from a section that may suspend",
      code:
        "func f() async { let x = await domain.read { s in await h(); return slow.load(s) }; print(x.value) }",
      message: "requires that 'Borrowed<[Int]>' conform to 'Escapable'"),
    Refusal(
      rule: "a reference is not stored outside a section that may suspend",
      code: """
        func f() async {
          var out: Borrowed<[Int]>? = nil
          await domain.read { s in await h(); out = slow.load(s) }
          print(out != nil)
        }
        """,
      message: "lifetime-dependent variable 'out' escapes its scope"),
    Refusal(
      rule: "a reference is not captured by a task that stays",
      code: """
        func f() async -> Task<Int, Never> {
          await domain.read { s in await h(); let b = slow.load(s); return Task { b.value.count } }
        }
        """,
      message: "lifetime-dependent variable 'b' escapes its scope"),
    Refusal(
      rule: "a section that may suspend is not handed to a task",
      code: """
        func f() async -> Task<Int, Never> {
          await domain.read { s in await h(); return Task { slow.load(s).value.count } }
        }
        """,
      message: "escaping closure captures 'inout' parameter 's'"),
    Refusal(
      rule: "a section of a flavor does not protect a domain's box",
      code: "func f() -> Int { Memb.read { s in slow.load(s).value.count } }",
      message: "cannot convert value of type 'ReadSection<Memb>' to expected argument type 'SleepableSection'"
    ),
    Refusal(
      rule: "a value is not taken out of a read that may suspend",
      code: "func f() async -> Key { await slowKey.read { k in await h(); return k } }",
      message: "'k' is borrowed and cannot be consumed"),
    Refusal(
      rule: "a section that may suspend is not made by hand",
      code: "func f() { let s = SleepableSection(entering: domain); print(slow.load(s).value) }",
      message: "initializer is inaccessible due to 'internal' protection level"),
  ]

  /// Without this, a refusal above could come from a compiler that does not find the modules.
  @Test func preambleCompilesByItself() async {
    let result = await Compiler.swift(
      Self.preamble + """
        func help(_ s: borrowing ReadSection<Memb>) -> Int { box.load(s).value.count }
        func f() -> Int {
          Memb.read { s in
            let first = box.load(s), second = box.load(s)
            return first.value.count + second.value.count + help(s)
          }
        }
        func h() -> Int {
          QSBR.withOnlineReader { r in
            var sum = 0
            do { let b = fast.load(r); sum += b.value }
            r.quiescentState()
            r.offline { sum += 1 }
            return sum + fast.load(r).value
          }
        }
        func m(_ cell: borrowing some RCUCell<Int> & ~Copyable & ~Escapable) -> Int { cell.read { $0 } }
        final class Server: Sendable { let limit = RCUBox(1) }
        func n(_ server: Server) -> Int {
          let count = box.map(\\.count)
          var cached = count.cached()
          let sum = count.read { $0 } + cached.read { $0 } + m(count) + m(server.limit) + m(ConstantCell(1))
          return sum + server.limit.lend { limit in
            let next = limit.map { $0 + 1 }
            limit.update { $0 += 1 }
            return next.read { $0 } + m(next)
          }
        }
        func o() -> Int {
          let local = RCUBox([1])
          return local.lend { b in let n = b.map(\\.count); b.update { $0.append(1) }; return n.read { $0 } }
        }
        final class Handler {
          var limit: SharedRCUBox<Int, Memb>.Cache
          let routes: SharedRCUBox<[Int], Memb>
          init(_ limit: SharedRCUBox<Int, Memb>, _ routes: SharedRCUBox<[Int], Memb>) {
            self.limit = limit.cache()
            self.routes = routes
          }
          func handle() -> Int { limit.read { $0 } + routes.read { $0.count } + p(routes) }
        }
        func p(_ cell: some RCUCell<[Int]>) -> Int { cell.read { $0.count } }
        func k() async -> [Int] { let copy = box.snapshot(); _ = await g(); return copy }
        """)
    #expect(result.status == 0, "\(result.output)")
  }

  static let preamble = """
    import Quiescence
    struct Key: ~Copyable, Sendable { let bits = 7 }
    let box = RCUBox([1, 2])
    let key = RCUBox(Key())
    let fast = RCUBox(1, flavor: QSBR.self)
    func g() async -> Int { 1 }
    func h() async {}
    let domain = SleepableDomain()
    let slow = SleepableBox([1, 2], in: domain)
    let slowKey = SleepableBox(Key(), in: domain)

    """
}
