import TestSupport
import Testing

/// Code that would be a use after free, and that the compiler must not let through.
@Suite struct RefusedCodeTests {
  struct Refusal: Sendable, CustomTestStringConvertible {
    let rule: String
    let code: String
    let message: String
    var testDescription: String { rule }
  }

  static let preamble = """
    import Quiescence
    import QuiescentCollections
    struct Key: ~Copyable, Sendable { let number: Int }
    let pointer = RCUPointer([1], flavor: Memb.self)
    let key = RCUPointer(Key(number: 1), flavor: Memb.self)
    let fast = RCUPointer(1, flavor: QSBR.self)
    let table = RCUDictionary<Int, [Int], Memb>()
    let list = RCUList<Int, Memb>()
    let domain = SleepableDomain("domain")
    let sleepable = SleepablePointer([1], in: domain)

    """

  @Test(arguments: [
    Refusal(
      rule: "a node is not returned from its section",
      code: "func f() { let x = Memb.read { s in return pointer.load(s) }; print(x == nil) }",
      message: "Escapable"),
    Refusal(
      rule: "a node is not used after its section was repinned",
      code: """
        func f() -> Int {
          Memb.read { s in let n = pointer.load(s); s.repin(); return n?.value.count ?? 0 }
        }
        """,
      message: "overlapping accesses to 's', but modification requires exclusive access"),
    Refusal(
      rule: "a node is not used after its sleepable section was repinned",
      code: """
        func f() -> Int {
          domain.read { s in let n = sleepable.load(s); s.repin(); return n?.value.count ?? 0 }
        }
        """,
      message: "overlapping accesses to 's', but modification requires exclusive access"),
    Refusal(
      rule: "a section of one flavor does not protect a pointer of another",
      code: "func f() -> Bool { Memb.read { s in fast.load(s) == nil } }",
      message:
        "cannot convert value of type 'ReadSection<Memb>' to expected argument type 'ReadSection<QSBR>'"),
    Refusal(
      rule: "a noncopyable node is not taken out of its pointer",
      code: "func f() -> Key? { Memb.read { s in if let k = key.load(s) { return k.value }; return nil } }",
      message: "is borrowed and cannot be consumed"),
    Refusal(
      rule: "a value of a dictionary is not returned from its section",
      code: "func f() { let x = Memb.read { s in return table.load(1, s) }; print(x == nil) }",
      message: "Escapable"),
    Refusal(
      rule: "an entry of a dictionary is not stored outside its section",
      code: """
        func f() {
          var out: RCUDictionary<Int, [Int], Memb>.Entry? = nil
          Memb.read { s in var e = table.entries(s); out = e.next() }
          print(out == nil)
        }
        """,
      message: "escapes its scope"),
    Refusal(
      rule: "an iteration does not go on after its section was repinned",
      code: """
        func f() {
          Memb.read { s in var e = table.entries(s); s.repin(); while let x = e.next() { print(x.key) } }
        }
        """,
      message: "overlapping accesses to 's', but modification requires exclusive access"),
    Refusal(
      rule: "an entry of a list is not stored outside its section",
      code: """
        func f() {
          var out: RCUList<Int, Memb>.Entry? = nil
          Memb.read { s in var e = list.entries(s); out = e.next() }
          print(out == nil)
        }
        """,
      message: "escapes its scope"),
    Refusal(
      rule: "a lookup does not suspend",
      code:
        "func f() async -> Int? { await table.read(1) { v in await g() + v.count } }\nfunc g() async -> Int { 1 }",
      message: "parameter expecting synchronous function type"),
  ])
  func refused(_ refusal: Refusal) async {
    let result = await Compiler.swift(Self.preamble + refusal.code)
    #expect(result.status != 0)
    #expect(result.output.contains(refusal.message), "\(result.output)")
  }

  /// What the refused code is close to, and what must compile.
  @Test func correctCodeCompiles() async {
    let result = await Compiler.swift(
      Self.preamble + """
        func f() -> Int {
          Memb.read { s in
            var sum = 0
            if let n = pointer.load(s) { sum += n.value.count }
            s.repin()
            if let n = table.load(1, s) { sum += n.value.count }
            var entries = table.entries(s)
            while let entry = entries.next() { sum += entry.key + entry.value.count }
            var elements = list.entries(s)
            while let element = elements.next() { sum += element.value; list.remove(element) }
            return sum
          }
        }
        func g() -> Int { domain.read { s in sleepable.load(s)?.value.count ?? 0 } }
        """)
    #expect(result.status == 0, "\(result.output)")
  }
}
