internal import CModuleABI
internal import Glibc
internal import ModuleFiles
internal import _ImageShims

/// A shared object that the loader has mapped, from a copy of its own.
struct Image: Sendable {
  /// The file that it was read from.
  let path: String
  private let copy: ImageCopy
  private nonisolated(unsafe) let handle: UnsafeMutableRawPointer
  private let file: MappedFile
  /// The addresses from the first to the last mapping of the file.
  let bounds: Range<UInt>
  private let record: ModuleRecord
  /// Why its file says that it must stay; nil if it does not.
  let residency: String?
  /// What is searched before it is unmapped; nil if its code cannot leave anything behind.
  private let leftovers: Leftovers?

  /// The number of bytes from the first to the last mapping of the file.
  var size: Int { bounds.count }

  /// Maps the copy, runs its constructors, and finds its entry. Blocks; runs code of the image.
  static func open(
    _ prepared: PreparedImage
  ) throws(ModuleError) -> (image: Image, entry: UnsafePointer<quiescent_module>) {
    let (path, copy) = (prepared.path, prepared.copy)
    guard let entry = prepared.file.entry else {
      throw ModuleError(path, ENOEXEC, "no module: it does not export \(QUIESCENT_MODULE_SYMBOL)")
    }
    let facts = prepared.file.facts
    let beginning = ThreadAge.now
    let record = ModuleRecord(prepared.name, version: entry.version, path: path)
    let libraries = NeededLibraries(of: prepared.file, at: path)
    guard let handle = dlopen(copy.path, RTLD_NOW | RTLD_LOCAL) else {
      let text = dlerror().map { String(cString: $0) } ?? "the loader gives no reason"
      copy.discard()
      record.setUnloaded(isMapped: false)
      throw ModuleError(path, ENOEXEC, "cannot be mapped: \(oneLine(text, without: copy.path))")
    }
    _ = consume libraries
    do throws(ModuleError) {
      // Not by its name: the loader would look for that in what the file needs as well.
      let address = qs_image_address(handle)
      guard let symbol = UnsafeRawPointer(bitPattern: address + UInt(entry.address)),
        let (file, bounds) = try place(of: symbol, path)
      else { throw ModuleError(path, ENOEXEC, "its entry lies outside its file") }
      let pointer = symbol.assumingMemoryBound(to: quiescent_module.self)
      record.setPlace(bounds)
      // A weak symbol that is nowhere.
      if pointer.pointee.`init` == nil { throw ModuleError(path, ENOEXEC, "it has no init") }
      let image = Image(
        path: path, copy: copy, handle: handle, file: file, bounds: bounds, record: record,
        residency: facts.residency,
        leftovers: facts.mayLeaveSomethingBehind
          ? Leftovers(of: address, in: bounds, facts, since: beginning) : nil)
      return (image, pointer)
    } catch {
      let isMapped = dlclose(handle) != 0
      if isMapped { copy.keep() } else { copy.discard() }
      record.setUnloaded(isMapped: isMapped)
      throw error
    }
  }

  /// Unmaps the image, unless its file or what its code left behind says that it must stay. Returns
  /// nil if the mappings of the process show that it is gone; otherwise the reason why it stayed.
  func close() -> String? {
    let reason = unmap()
    if reason == nil { copy.discard() } else { copy.keep() }
    record.setUnloaded(isMapped: reason != nil)
    return reason
  }

  private func unmap() -> String? {
    if let reason = residency ?? leftovers?.search() { return reason }
    if dlclose(handle) != 0 {
      return dlerror().map { Self.oneLine(String(cString: $0), without: copy.path) } ?? "dlclose failed"
    }
    let isMapped: Bool
    if let query = MappingQuery() {
      isMapped = query.contains(file, in: bounds)
    } else {
      guard let maps = try? ProcessMaps() else { return "the process's mappings cannot be read" }
      isMapped = maps.contains(file, in: bounds)
    }
    return isMapped ? "the loader keeps it mapped" : nil
  }

  /// The file of the mapping that holds the symbol, and the bounds of the file's mappings.
  private static func place(
    of symbol: UnsafeRawPointer, _ path: String
  ) throws(ModuleError) -> (file: MappedFile, bounds: Range<UInt>)? {
    if let query = MappingQuery(), let place = query.image(at: symbol) { return place }
    do { return try ProcessMaps().image(at: symbol) } catch {
      throw ModuleError(path, error.errno, "the process's mappings cannot be read")
    }
  }

  private static func oneLine(_ text: String, without path: String) -> String {
    let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    return line.hasPrefix(path + ": ") ? String(line.dropFirst(path.count + 2)) : line
  }
}
