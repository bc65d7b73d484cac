import Quiescence
import TestSupport
import Testing

@Suite struct CellTests {
  struct Settings: Sendable {
    var name = "a"
    var limits = Limits()
    var routes = [1, 2, 3]
  }

  struct Limits: Sendable, Equatable {
    var hops = 8
    var packets = 100
    var sum: Int { hops + packets }
  }

  /// Code that works with any cell.
  private func twice(_ cell: borrowing some RCUCell<Int> & ~Copyable & ~Escapable) -> Int {
    cell.read { $0 } + cell.snapshot()
  }

  @Test func sameCodeReadsEveryCell() {
    let plain = RCUBox(4)
    #expect(twice(plain) == 8)
    let projections = RCUBox(Limits()).lend { [twice($0.map(\.hops)), twice($0.map { $0.hops + 1 })] }
    #expect(projections == [16, 18])
    #expect(twice(ConstantCell(5)) == 10)
    #expect(twice(ConstantCell(Limits()).map { $0.packets }) == 200)
  }

  @Test(arguments: FlavorCase.all)
  func projectionsFollowTheirBox(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let values = await onThread { RCUBox(Settings(), flavor: F.self).lend(Self.beforeAndAfterAWrite) }
      #expect(values == ["100", "108", "a3", "2", "3", "a4"])
    }
    await run(flavor.type)
  }

  private static func beforeAndAfterAWrite<F: Flavor>(_ box: borrowing RCUBox<Settings, F>) -> [String] {
    let stored = box.map(\.limits.packets)
    let computed = box.map(\.limits.sum)
    let made = box.map { "\($0.name)\($0.routes.count)" }
    func look() -> [String] {
      F.readAnywhere { [stored.read { "\($0)" }, computed.read { "\($0)" }, made.snapshot()] }
    }
    let before = look()
    box.update {
      $0.limits = Limits(hops: 1, packets: 2)
      $0.routes.append(4)
    }
    return before + look()
  }

  @Test func projectionsOfProjections() {
    RCUBox(Settings()).lend { box in
      let limits = box.map(\.limits)
      let stored = limits.map(\.packets)
      let computed = limits.map(\.sum)
      let made = limits.map { $0.hops * 2 }
      let afterMade = made.map { $0 + 1 }.map(\.description)
      let ofMade = box.map { $0.limits }.map(\.packets)
      box.update { $0.limits = Limits(hops: 1, packets: 2) }
      let whole = limits.snapshot()
      #expect(whole == Limits(hops: 1, packets: 2))
      let numbers = [stored.read { $0 }, computed.read { $0 }, made.read { $0 }, ofMade.read { $0 }]
      #expect(numbers == [2, 3, 2, 2])
      let text = afterMade.snapshot()
      #expect(text == "3")
    }
  }

  @Test func projectionsOfStoredPropertiesDoNotCopy() {
    // An existential is never passed in registers, so the borrower has the address of the value
    // itself.
    struct Settings: Sendable {
      var padding = 1
      var part: any Sendable = "part"
    }
    func address(_ part: borrowing any Sendable) -> UInt {
      withUnsafePointer(to: part) { UInt(bitPattern: $0) }
    }
    RCUBox(Settings()).lend { box in
      let inBox = box.read { address($0.part) }
      let stored = box.map(\.part).read { address($0) }
      let nested = box.map(\.self).map(\.part).read { address($0) }
      let lent = box.map(lending: { value, lend in lend(value.part) }).read { address($0) }
      let made = box.map { $0.part }.read { address($0) }
      #expect(stored == inBox)
      #expect(nested == inBox)
      #expect(lent == inBox)
      #expect(made != inBox, "a made part is a copy")
    }
  }

  @Test func noncopyableParts() {
    struct Key: ~Copyable, Sendable {
      var bits = 7
    }
    struct Pair: ~Copyable, Sendable {
      let left = Key()
      let right: Key
    }
    let seen = RCUBox(Pair(right: Key(bits: 1))).lend { box in
      let right = box.map(lending: { pair, lend in lend(pair.right) })
      let made = box.map { Key(bits: $0.right.bits + 1) }
      let bits = right.map { $0.bits }
      box.exchange(Pair(right: Key(bits: 10)))
      return [
        right.read { $0.bits }, made.read { $0.bits }, bits.read { $0 },
        right.map(lending: { key, lend in lend(key.bits) }).read { $0 },
      ]
    }
    #expect(seen == [10, 11, 10, 10])
  }

  @Test func readsPassResultsAndErrorsOn() {
    struct Refused: Error, Equatable {}
    struct Token: ~Copyable { let number: Int }
    RCUBox(Limits()).lend { box in
      let stored = box.map(\.hops)
      let made = box.map { $0.hops }
      var caught = 0
      do { try stored.read { _ throws(Refused) in throw Refused() } } catch { caught += 1 }
      do { try made.read { _ throws(Refused) in throw Refused() } } catch { caught += 1 }
      #expect(caught == 2)
      #expect(!Memb.isInside)
      let tokens = (stored.read { Token(number: $0) }.number, made.read { Token(number: $0) }.number)
      #expect(tokens == (8, 8))
    }
  }

  @Test func readsAreInsideASection() {
    let isInside = RCUBox(Limits()).lend { box in
      [box.map(\.hops).read { _ in Memb.isInside }, box.map { _ in Memb.isInside }.read { $0 }]
    }
    #expect(isInside == [true, true])
    #expect(!ConstantCell(1).read { _ in Memb.isInside })
  }

  @Test func constantsOfNoncopyableValues() {
    struct Key: ~Copyable, Sendable { let bits: Int }
    let cell = ConstantCell(Key(bits: 3))
    #expect(cell.read { $0.bits } == 3)
    #expect(cell.map { Key(bits: $0.bits + 1) }.read { $0.bits } == 4)
  }

  @Test func boxAddressesAreStable() async {
    #expect(await onThread { cellAddressFailures() } == [])
  }

  @Test func projectionMustLendExactlyOnce() async {
    let never = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      RCUBox(1).lend { box in
        let part: Projection<Int, Int, Memb> = box.map(lending: { _, _ in })
        _ = part.read { $0 }
      }
    }
    let twice = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      RCUBox(1).lend { box in
        let part = box.map(lending: { (value, lend: (borrowing Int) -> Void) in
          lend(value)
          lend(value)
        })
        _ = part.read { $0 }
      }
    }
    for result in [never, twice] {
      let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(line.contains("RCUBox.map(lending:): the function must call its second argument exactly once"))
    }
  }
}
