import TestSupport
import Testing

@testable import Quiescence

/// Which cache lines a box writes to, and which it shares.
///
/// The tests look at the boxes' memory from outside: what a box loads for its readers are the words
/// that an update changes, wherever they lie.
@Suite struct BoxLayoutTests {
  private static let line: UInt = 64

  /// Old layouts stored the writer's identity, and the lock's pointer, in the line that readers
  /// load.
  @Test func updateWritesToTheBoxWhereItPublishesOnly() {
    let box = RCUBox(1)
    let before = Self.words(of: box)
    box.update { number in
      #expect(Self.words(of: box) == before, "written to before the publication")
      number = 2
    }
    let published = Self.words(of: box)
    #expect(Self.changed(before, published) == Self.published)
    box.update { _ in }
    #expect(Self.changed(published, Self.words(of: box)) == Self.published)
    _ = try? box.update { _ throws(Refused) in throw Refused() }
    let domain = SleepableDomain()
    let sleepable = SleepableBox(1, in: domain)
    let first = Self.words(of: sleepable)
    sleepable.update { number in
      #expect(Self.words(of: sleepable) == first, "written to before the publication")
      number = 2
    }
    #expect(Self.changed(first, Self.words(of: sleepable)) == Self.published)
  }

  /// The words that a publication changes lie in one line, and nothing else does that a writer of
  /// another box changes, or that counts references.
  @Test func boxesBesideEachOtherShareNoLine() {
    let domain = SleepableDomain()
    let object = Mixed(domain)
    var lines = [Self.line(of: object.first), Self.line(of: object.second)]
    lines.append(Self.line(of: object.third))
    lines.append(Self.line(of: object.pair.left))
    lines.append(Self.line(of: object.pair.right))
    #expect(Set(lines).count == lines.count, "\(lines)")

    // Objects begin with their reference count, whatever address they have.
    for _ in 0..<64 {
      let single = Single()
      let count = UInt(bitPattern: Unmanaged.passUnretained(single).toOpaque()) + 8
      #expect(Self.line(of: single.box) != count / Self.line)
    }

    // An array's elements, at each alignment that the allocator may choose.
    for _ in 0..<16 {
      let boxes = UnsafeMutablePointer<RCUBox<Int, Memb>>.allocate(capacity: 8)
      for index in 0..<8 { (boxes + index).initialize(to: RCUBox(index)) }
      let lines = (0..<8).map { Self.line(of: boxes[$0]) }
      #expect(Set(lines).count == lines.count, "\(lines)")
      boxes.deinitialize(count: 8)
      boxes.deallocate()
    }
    #expect(MemoryLayout<RCUBox<Int, Memb>>.stride == 64)
    #expect(MemoryLayout<SleepableBox<Int>>.stride == 64)
  }

  /// A lock's memory is a line of its own (its size is asserted where it is declared), so that no
  /// version of a box, and no other object, shares one with it.
  @Test func lockIsACacheLine() {
    let locks = (0..<64).map { _ in Shared(Lock()) }
    for lock in locks {
      // The lock is one word, its address.
      let start = Self.words(of: lock.value)[0]
      #expect(start % Self.line == 0)
      #expect(UInt(bitPattern: lock.value.word) / Self.line == start / Self.line)
    }
    let box = RCUBox(1)
    #expect(Self.words(of: box)[5] % Self.line == 0)
  }

  /// The lines of a value, and the lines of every block that malloc has given out around it, are
  /// different ones.
  @Test func versionSharesNoLineWithOtherBlocks() {
    var blocks: [UnsafeMutableRawPointer] = []
    defer { for block in blocks { block.deallocate() } }
    for index in 0..<256 {
      let version = Version<(Int, Int, Int)>.allocate(), small = Version<UInt8>.allocate()
      version.initialize(to: (index, 0, 0))
      small.initialize(to: 0)
      defer {
        Version.destroy(version)
        Version.destroy(small)
      }
      let first = UInt(bitPattern: version) / Self.line, last = (UInt(bitPattern: version) + 23) / Self.line
      let only = UInt(bitPattern: small) / Self.line
      // Of all sizes, so that some lie right before and behind.
      for _ in 0..<4 {
        let size = 8 + 8 * (index % 24)
        let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        blocks.append(block)
        // malloc's own word lies before the block.
        let start = (UInt(bitPattern: block) - 8) / Self.line
        let end = (UInt(bitPattern: block) + UInt(size) - 1) / Self.line
        #expect((end < first || last < start) && (end < only || only < start))
      }
    }
  }

  private struct Refused: Error {}

  private final class Single: Sendable {
    let box = RCUBox(1)
  }

  private struct Pair: ~Copyable, Sendable {
    let before: UInt8 = 1
    let left = RCUBox(1)
    let between: UInt = 2
    let right = RCUBox(2)
  }

  private final class Mixed: Sendable {
    let flag = true
    let first = RCUBox(1)
    let second: SleepableBox<Int>
    let byte: UInt8 = 1
    let third = RCUBox(3)
    let pair = Pair()

    init(_ domain: borrowing SleepableDomain) { second = SleepableBox(2, in: domain) }
  }

  /// The words of a box that a publication changes: its last two.
  private static let published = [6, 7]

  private static func words<Box: ~Copyable>(of box: borrowing Box) -> [UInt] {
    withUnsafeBytes(of: box) { Array($0.bindMemory(to: UInt.self)) }
  }

  private static func changed(_ before: [UInt], _ after: [UInt]) -> [Int] {
    before.indices.filter { before[$0] != after[$0] }
  }

  /// The line of both words that a publication changes.
  private static func line<Box: ~Copyable>(of box: borrowing Box) -> UInt {
    withUnsafeBytes(of: box) { bytes in
      let start = UInt(bitPattern: bytes.baseAddress)
      let lines = published.map { (start + UInt($0) * 8) / line }
      #expect(lines[0] == lines[1])
      return lines[0]
    }
  }
}
