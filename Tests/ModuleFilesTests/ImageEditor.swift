import Foundation
import ModuleFiles
import TestSupport

/// The bytes of an image, to be changed in the places that a loader trusts.
struct ImageEditor {
  var bytes: [UInt8]

  init(_ path: String) throws { bytes = Array(try Data(contentsOf: URL(filePath: path))) }

  func read<Value: BitwiseCopyable>(_ type: Value.Type, at offset: Int) -> Value {
    bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
  }

  mutating func write<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: Value.self) }
  }

  /// The offset of the `number`th program header of that type.
  func segment(_ type: UInt32, _ number: Int = 0) -> Int {
    let start = Int(read(UInt64.self, at: 32))
    let all = (0..<Int(read(UInt16.self, at: 56))).map { start + $0 * 56 }
    return all.filter { read(UInt32.self, at: $0) == type }[number]
  }

  /// A field of a program header.
  enum Field: Int { case flags = 4, offset = 8, address = 16, fileSize = 32, memorySize = 40, alignment = 48 }

  func field(_ field: Field, of segment: Int) -> UInt64 { read(UInt64.self, at: segment + field.rawValue) }

  mutating func set(_ field: Field, of segment: Int, to value: UInt64) {
    if field == .flags {
      write(UInt32(value), at: segment + field.rawValue)
    } else {
      write(value, at: segment + field.rawValue)
    }
  }

  /// The offset of the first entry of the dynamic section with that tag; nil when there is none.
  func entry(_ tag: UInt64) -> Int? {
    let dynamic = segment(2)
    let start = Int(field(.offset, of: dynamic))
    return stride(from: start, to: start + Int(field(.fileSize, of: dynamic)), by: 16)
      .first { read(UInt64.self, at: $0) == tag }
  }

  func value(of tag: UInt64) -> UInt64 { read(UInt64.self, at: entry(tag)! + 8) }

  mutating func set(_ tag: UInt64, to value: UInt64) { write(value, at: entry(tag)! + 8) }

  /// Gives an entry another tag.
  mutating func rename(_ tag: UInt64, to other: UInt64) { write(other, at: entry(tag)!) }

  /// Where an address lies in the file.
  func offset(of address: UInt64) -> Int {
    for number in 0... {
      let load = segment(1, number)
      let start = field(.address, of: load)
      if address >= start && address < start + field(.fileSize, of: load) {
        return Int(field(.offset, of: load) + (address - start))
      }
    }
    fatalError("no such address")
  }

  /// Where the table of that tag lies in the file.
  func table(_ tag: UInt64) -> Int { offset(of: value(of: tag)) }

  /// Why the inspection refuses it; nil when it does not.
  func fault() -> ModuleFileError? {
    do throws(ModuleFileError) {
      _ = try ImageFile(content(), "image")
      return nil
    } catch { return error }
  }

  private func content() throws(ModuleFileError) -> FileContent {
    try bytes.span.bytes.withUnsafeBytes { (bytes) throws(ModuleFileError) in
      try FileContent(copying: bytes, "image")
    }
  }

  /// What the inspection finds.
  func facts() throws -> ImageFacts { try ImageFile(content(), "image").facts }

  func save(_ path: String) throws { try Data(bytes).write(to: URL(filePath: path)) }
}

/// Images for the tests of the inspection, compiled once per test run.
enum SampleImages {
  static let folder = ModuleFolder()

  /// A module with a parameter, thread-local storage, and calls of the C library; without code that
  /// runs when it is loaded.
  static let quiet = [
    "", "-fuse-ld=lld -Wl,--pack-dyn-relocs=relr", "-fuse-ld=bfd -Wl,--hash-style=both",
    "-Wl,--hash-style=sysv",
  ].enumerated().map { number, options in
    build("quiet\(number)", code, ["-nostartfiles"] + options.split(separator: " ").map(String.init))
  }

  /// The same with constructors and destructors.
  static let whole = build("whole", code + constructors)

  static func build(_ name: String, _ code: String, _ options: [String] = []) -> String {
    Compiler.module(code, in: URL(filePath: folder.path), named: name, options: options)
  }

  static let code = """
    #include <errno.h>
    #include <stdlib.h>
    #include <string.h>
    #include "quiescent_module.h"
    static int limit = 3;
    QUIESCENT_PARAMETER(limit, int, "A limit", .minimum = 1, .maximum = 9);
    QUIESCENT_INFO("license", "MIT");
    static __thread int calls = 7;
    static const char *const words[] = {"one", "two", "three"};
    int *quiet_count(void);
    __attribute__((visibility("default"))) int *quiet_count(void) { return &calls; }
    static int init(const struct quiescent_host *h, struct quiescent_self *s) {
      (void)h, (void)s;
      calls += 1;
      return getenv(words[*quiet_count() % 3]) ? -EIO : 0;
    }
    static int leave(void) { return 0; }
    QUIESCENT_MODULE(.name = "quiet", .version = "1.0", .init = init, .exit = leave)

    """

  static let constructors = """
    static int made;
    __attribute__((constructor)) static void make(void) { made += strlen(words[0]); }
    __attribute__((destructor)) static void unmake(void) { made = 0; }

    """
}
