import Foundation
import ModuleFiles
import TestSupport
import Testing

/// Everything that the loader trusts in a file is checked before the loader sees the file.
@Suite struct BrokenImageTests {
  /// One thing that is wrong, and what the refusal says of it.
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let reason: String
    let change: @Sendable (inout ImageEditor) -> Void

    init(_ name: String, _ reason: String, _ change: @escaping @Sendable (inout ImageEditor) -> Void) {
      testDescription = name
      self.reason = reason
      self.change = change
    }
  }

  static let wild: UInt64 = 0x7777_7777_7000

  static let segments: [Case] = [
    Case("file size", "cut short") { $0.set(.fileSize, of: $0.segment(1), to: 1 << 30) },
    Case("offset", "cut short") { $0.set(.offset, of: $0.segment(1), to: .max - 4095) },
    Case("more in the file than in memory", "larger in the file") {
      $0.set(.memorySize, of: $0.segment(1), to: 1)
    },
    Case("end of the address space", "too large") { $0.set(.memorySize, of: $0.segment(1, 1), to: .max) },
    Case("alignment", "not aligned") { $0.set(.alignment, of: $0.segment(1), to: 3) },
    Case("alignment of nothing", "not aligned") { $0.set(.alignment, of: $0.segment(1), to: 0) },
    Case("address and offset", "not aligned") { $0.set(.address, of: $0.segment(1, 1), to: 0x5555) },
    Case("overlap", "overlap") { $0.set(.memorySize, of: $0.segment(1), to: 0x100000) },
    Case("no LOAD", "no LOAD") { for number in [0, 0] { $0.write(UInt32(0), at: $0.segment(1, number)) } },
    Case("no dynamic section", "no dynamic") { $0.write(UInt32(0), at: $0.segment(2)) },
    Case("dynamic section elsewhere", "dynamic section lies outside") {
      $0.set(.address, of: $0.segment(2), to: wild)
    },
    Case("dynamic section in code", "not writable") {
      $0.set(.address, of: $0.segment(2), to: $0.field(.address, of: $0.segment(1)))
    },
    Case("dynamic section without an end", "no end") {
      $0.set(.fileSize, of: $0.segment(2), to: 32)
      $0.set(.memorySize, of: $0.segment(2), to: 32)
    },
    Case("TLS elsewhere", "TLS segment lies outside") { $0.set(.address, of: $0.segment(7), to: wild) },
    Case("TLS alignment", "TLS segment has") { $0.set(.alignment, of: $0.segment(7), to: 0) },
    Case("TLS size", "TLS segment has") { $0.set(.memorySize, of: $0.segment(7), to: 1 << 40) },
    Case("RELRO elsewhere", "GNU_RELRO") { $0.set(.address, of: $0.segment(0x6474_e552), to: wild) },
    Case("RELRO beyond", "GNU_RELRO") { $0.set(.memorySize, of: $0.segment(0x6474_e552), to: 1 << 30) },
    Case("unwinding elsewhere", "GNU_EH_FRAME") { $0.set(.address, of: $0.segment(0x6474_e550), to: wild) },
    Case("executable stack", "executable stacks") { $0.set(.flags, of: $0.segment(0x6474_e551), to: 7) },
    Case("no word about the stack", "executable stacks") { $0.write(UInt32(0), at: $0.segment(0x6474_e551)) },
    Case("headers of another size", "program headers are of another size") { $0.write(UInt16(55), at: 54) },
    Case("too many headers", "program headers") { $0.write(UInt16.max, at: 56) },
    Case("headers elsewhere", "cut short") { $0.write(UInt64.max - 10, at: 32) },
    Case("sections elsewhere", "sections are cut short") { $0.write(UInt64.max - 10, at: 40) },
    Case("another class", "another kind of processor") { $0.bytes[4] = 1 },
    Case("another machine", "another kind of processor") { $0.write(UInt16(7), at: 18) },
    Case("another system", "another kind of system") { $0.bytes[7] = 97 },
    Case("an object file", "not a shared object") { $0.write(UInt16(1), at: 16) },
  ]

  static let tables: [Case] = {
    let tags: [(String, UInt64)] = [
      ("DT_STRTAB", 5), ("DT_SYMTAB", 6), ("DT_RELA", 7), ("DT_JMPREL", 23), ("DT_GNU_HASH", 0x6fff_fef5),
      ("DT_VERSYM", 0x6fff_fff0), ("DT_VERNEED", 0x6fff_fffe), ("DT_INIT_ARRAY", 25), ("DT_FINI_ARRAY", 26),
    ]
    return tags.flatMap { name, tag in
      [wild, .max - 7].map { address in
        Case("\(name) at \(address)", "\(name) lies outside") { $0.set(tag, to: address) }
      }
    }
  }()

  static let sizes: [Case] = {
    let tags: [(String, UInt64)] = [
      ("DT_STRTAB", 10), ("DT_RELA", 8), ("DT_JMPREL", 2), ("DT_INIT_ARRAY", 27), ("DT_FINI_ARRAY", 28),
    ]
    return tags.flatMap { name, tag in
      [UInt64.max - 23, 1 << 40, 25].map { size in
        Case("size of \(name): \(size)", size == 25 && tag == 10 ? "DT_NEEDED" : name) {
          $0.set(tag, to: size)
        }
      }
    }
  }()

  static let all: [Case] = [segments, tables, sizes, dynamic, relocations].flatMap { $0 }

  static let dynamic: [Case] = [
    Case("DT_SYMENT", "DT_SYMENT") { $0.set(11, to: 16) },
    Case("DT_RELAENT", "DT_RELAENT") { $0.set(9, to: 23) },
    Case("DT_PLTREL", "DT_PLTREL") { $0.set(20, to: 17) },
    Case("no DT_STRSZ", "no size") { $0.rename(10, to: 0x6000_0000) },
    Case("no DT_STRTAB", "no DT_STRTAB") { $0.rename(5, to: 0x6000_0000) },
    Case("no DT_SYMTAB", "no DT_SYMTAB") { $0.rename(6, to: 0x6000_0000) },
    Case("no DT_PLTREL", "not all") { $0.rename(20, to: 0x6000_0000) },
    Case("no DT_VERSYM", "no DT_VERSYM") { $0.rename(0x6fff_fff0, to: 0x6000_0000) },
    Case("a tag of more than 32 bits", "no tag") { $0.rename(9, to: 0x1_7fff_fffd) },
    Case("DT_TEXTREL", "DT_TEXTREL") { $0.rename(9, to: 22) },
    Case("DT_PREINIT_ARRAY", "for programs alone") { $0.rename(9, to: 32) },
    Case("DT_NEEDED", "DT_NEEDED lies outside") { $0.set(1, to: 1 << 30) },
    Case("DT_NEEDED beyond 64 bits", "DT_NEEDED lies outside") { $0.set(1, to: .max) },
    Case("DT_SONAME", "a name in its dynamic section lies outside") {
      $0.rename(9, to: 14)
      $0.set(14, to: .max)
    },
    Case("DT_INIT", "DT_INIT lies outside its code") { $0.set(12, to: $0.value(of: 25)) },
    Case("DT_FINI", "DT_FINI lies outside its code") { $0.set(13, to: wild) },
    Case("strings without an end", "does not end with a zero") { $0.set(10, to: $0.value(of: 10) - 1) },
    Case("a version of a library that is not needed", "which it does not need") {
      $0.write(UInt32(0), at: $0.table(0x6fff_fffe) + 4)
    },
    Case("a version's name", "DT_VERNEED lies outside") {
      $0.write(UInt32.max, at: $0.table(0x6fff_fffe) + 16 + 8)
    },
    Case("a version's place", "DT_VERNEED") { $0.write(UInt32.max, at: $0.table(0x6fff_fffe) + 8) },
    Case("a symbol's version", "version that is none") {
      $0.write(UInt16(0x7fff), at: $0.table(0x6fff_fff0) + 2)
    },
    Case("hash filters", "DT_GNU_HASH has numbers") { $0.write(UInt32(3), at: $0.table(0x6fff_fef5) + 8) },
    Case("no hash filter", "DT_GNU_HASH has numbers") { $0.write(UInt32(0), at: $0.table(0x6fff_fef5) + 8) },
    Case("hash buckets", "DT_GNU_HASH lies outside") {
      $0.write(UInt32.max, at: $0.table(0x6fff_fef5))
    },
    Case("a hash bucket", "DT_GNU_HASH leads out") {
      let table = $0.table(0x6fff_fef5)
      $0.write(UInt32(1 << 20), at: table + 16 + 8 * Int($0.read(UInt32.self, at: table + 8)))
    },
    Case("a symbol's name", "name lies outside its DT_STRTAB") { $0.write(UInt32.max, at: $0.table(6) + 24) },
  ]

  static let relocations: [Case] = [
    Case("place", "outside its writable segments") { $0.write(wild, at: $0.table(7)) },
    Case("place in code", "outside its writable segments") { $0.write(UInt64(64), at: $0.table(7)) },
    Case("place in the dynamic section", "what the loader reads") {
      $0.write($0.field(.address, of: $0.segment(2)) + 8, at: $0.table(7))
    },
    Case("kind", "unknown kind") { $0.write(UInt32(250), at: $0.table(23) + 8) },
    Case("symbol", "outside its DT_SYMTAB") { $0.write(UInt32(1 << 20), at: $0.table(23) + 12) },
    Case("two of one pointer", "two relocations change the same pointer") {
      let place = $0.read(UInt64.self, at: $0.table(7))
      $0.write(place, at: $0.table(7) + 24)
      // The first two are those of the arrays.
      $0.write($0.value(of: 26), at: $0.table(7))
      $0.write($0.value(of: 26), at: $0.table(7) + 24)
    },
    Case("constructor that is not relocated", "an entry of its DT_INIT_ARRAY is") {
      // A word that no pointer is in.
      let other = $0.value(of: 3) + 8
      let place = $0.value(of: 25)
      let count = Int($0.value(of: 8)) / 24
      // Its relocation changes another word.
      for record in stride(from: $0.table(7), to: $0.table(7) + count * 24, by: 24)
      where $0.read(UInt64.self, at: record) == place { $0.write(other, at: record) }
    },
  ]

  @Test(arguments: all)
  func imagesThatWouldHarmTheLoaderAreRefused(_ broken: Case) throws {
    var image = try ImageEditor(SampleImages.whole)
    #expect(image.fault() == nil)
    broken.change(&image)
    let fault = image.fault()
    #expect(fault?.errno == ENOEXEC && fault?.reason.contains(broken.reason) == true, "\(fault as Any)")
  }

  /// A pointer of the entry leads out of the image, or into what is no code.
  @Test func pointersOfTheEntryAreChecked() throws {
    let image = try ImageEditor(SampleImages.whole)
    let relocations = image.table(7)
    let count = Int(image.value(of: 8)) / 24
    var reasons: Set<String> = []
    for index in 0..<count {
      let place = relocations + index * 24
      // R_X86_64_RELATIVE, R_AARCH64_RELATIVE, R_RISCV_RELATIVE
      if ![8, 1027, 3].contains(image.read(UInt32.self, at: place + 8)) { continue }
      var changed = image
      changed.write(Self.wild, at: place + 16)
      if let fault = changed.fault() { reasons.insert(fault.reason) }
    }
    for part in [
      "name", "version", "init", "exit", "parameters", "a parameter's name", "a parameter's variable",
    ] {
      #expect(
        reasons.contains { $0.hasPrefix("its \(part) ") || $0.hasPrefix("\(part) ") }, "\(part): \(reasons)")
    }
    #expect(
      reasons.contains { $0.contains("DT_INIT_ARRAY") } && reasons.contains { $0.contains("DT_FINI_ARRAY") })
  }

  /// Every length that is less than the whole.
  @Test func truncatedFilesAreRefused() throws {
    for path in SampleImages.quiet + [SampleImages.whole] {
      let image = try ImageEditor(path)
      for length in stride(from: 0, to: image.bytes.count, by: 7) {
        var cut = image
        cut.bytes.removeLast(image.bytes.count - length)
        let fault = cut.fault()
        #expect(fault?.errno == ENOEXEC, "\(length) bytes of \(path)")
      }
    }
  }
}
