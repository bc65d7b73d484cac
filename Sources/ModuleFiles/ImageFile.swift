internal import CModuleABI
internal import Glibc

/// A shared object's file, inspected before the loader maps it: the loader trusts what it finds in
/// a file, and dies with the host when that is wrong.
///
/// Every offset, size and index comes from the file and may be anything. Each is checked before it
/// is used, and each that the loader uses is checked as well. An image that is accepted can be
/// mapped, relocated and unmapped. What its code does is another matter.
///
/// Source: elf(5); glibc 2.36, elf/.
package struct ImageFile: ~Copyable {
  private let path: String
  private let content: FileContent
  /// What it shows.
  package let facts: ImageFacts
  /// What its entry says; nil when it exports none.
  package let entry: Entry?
  private let information: Range<UInt64>?
  /// Where the loader looks for what it needs (`DT_RUNPATH`, `DT_RPATH`), in this order.
  package let searchPaths: [String]

  /// The exported `struct quiescent_module`, as it is after relocation.
  package struct Entry: Sendable {
    /// Where it is, from the image's address on.
    package let address: UInt64
    package let abi: UInt32
    package let size: UInt32
    /// Nil, as what follows, when it is of another ABI.
    package let name: String?
    package let version: String?
    package let summary: String?
    package let hasInit: Bool
  }

  /// Reads and inspects the file. See ``init(_:_:)``.
  package init(_ path: String) throws(ModuleFileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 { throw ModuleFileError(path, errno, "cannot be opened") }
    let content: FileContent
    do throws(ModuleFileError) { content = try FileContent(of: descriptor, path) } catch {
      close(descriptor)
      throw error
    }
    close(descriptor)
    try self.init(content, path)
  }

  /// Inspects the content of the file at `path`.
  ///
  /// - Complexity: O(size of its tables). Allocates for what it returns, and little else.
  /// - Throws: `ENOEXEC` when it is no shared object for this machine, or a loader could not map
  ///   it, and what is wrong.
  package init(_ content: consuming FileContent, _ path: String) throws(ModuleFileError) {
    do throws(ELFFault) {
      (facts, entry, information, searchPaths) = try content.withUnsafeBytes { (bytes) throws(ELFFault) in
        let tables = try ELFTables(ELFBytes(bytes))
        let entry = try ELFEntry(tables)
        let information = tables.sections.range(of: ".quiescent.info")
        return (Self.facts(tables, entry), entry.map(Entry.init), information, tables.searchPaths)
      }
    } catch {
      throw ModuleFileError(path, ENOEXEC, error.reason)
    }
    self.path = path
    self.content = content
  }

  private static func facts(_ tables: ELFTables, _ entry: ELFEntry?) -> ImageFacts {
    var (unique, hasDestructors, registersSwift) = (0, false, false)
    var lasting: [String] = []
    for symbol in tables.symbols.all {
      if symbol.isDefined {
        if symbol.isUnique { unique += 1 }
      } else {
        hasDestructors = hasDestructors || destructorNames.contains { tables.symbols.isNamed(symbol, $0) }
        registersSwift = registersSwift || tables.symbols.isNamed(symbol, "swift_addNewDSOImage")
        if let name = tables.symbols.name(of: symbol), ImageFacts.isLasting(name) {
          lasting.append(String(decoding: name, as: UTF8.self))
        }
      }
    }
    return ImageFacts(
      abi: entry?.abi, needed: tables.needed, soname: tables.soname,
      constructors: tables.functions.constructors, destructors: tables.functions.destructors,
      hasSwiftMetadata: registersSwift || tables.sections.hasSection(startingWith: "swift5_"),
      isNeverUnmapped: tables.dynamic.isNeverUnmapped, uniqueSymbols: unique,
      hasThreadLocals: tables.segments.threadLocals != nil, hasThreadLocalDestructors: hasDestructors,
      lastingCalls: lasting.sorted())
  }

  /// What code calls to have a destructor run when its thread ends.
  private static let destructorNames: [StaticString] = [
    "__cxa_thread_atexit", "__cxa_thread_atexit_impl",
  ]

  /// The strings of the section `.quiescent.info`; none when there is no such section.
  package var strings: [[UInt8]] {
    guard let information else { return [] }
    return content.withUnsafeBytes { bytes in
      ELFBytes(bytes).part(information).split(separator: 0).map(Array.init)
    }
  }
}

extension ImageFile.Entry {
  init(_ entry: ELFEntry) {
    self.init(
      address: entry.address, abi: entry.abi, size: entry.size, name: entry.name, version: entry.version,
      summary: entry.summary, hasInit: entry.hasInit)
  }
}
