internal import CModuleABI
internal import Glibc
internal import ModuleFiles

/// A shared object that the loader has mapped.
struct Image: Sendable {
  let path: String
  private nonisolated(unsafe) let handle: UnsafeMutableRawPointer
  private let file: MappedFile
  private let bounds: Range<UInt>

  /// The number of bytes from the first to the last mapping of the file.
  var size: Int { bounds.count }

  /// Maps the file, runs its constructors, and finds its entry. Blocks; runs code of the image.
  static func open(
    _ path: String
  ) throws(ModuleError) -> (image: Image, entry: UnsafePointer<quiescent_module>) {
    let file: ImageFile
    do throws(ModuleFileError) { file = try ImageFile(path) } catch { throw ModuleError(error) }
    try check(file.entry, path)
    if let handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD) {
      // The loader would return the existing mapping, with its old data, and not run its
      // constructors.
      dlclose(handle)
      throw ModuleError(path, EEXIST, "its image is mapped in this process already")
    }
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let text = dlerror().map { String(cString: $0) } ?? "the loader gives no reason"
      throw ModuleError(path, ENOEXEC, "cannot be mapped: \(oneLine(text, without: path))")
    }
    do throws(ModuleError) {
      guard let symbol = dlsym(handle, QUIESCENT_MODULE_SYMBOL) else {
        throw ModuleError(path, ENOEXEC, "no module: it does not export \(QUIESCENT_MODULE_SYMBOL)")
      }
      let entry = UnsafePointer(symbol.assumingMemoryBound(to: quiescent_module.self))
      guard let (file, bounds) = try place(of: symbol, path) else {
        throw ModuleError(path, ENOEXEC, "its entry lies outside its file")
      }
      return (Image(path: path, handle: handle, file: file, bounds: bounds), entry)
    } catch {
      dlclose(handle)
      throw error
    }
  }

  /// Before any code of the file runs.
  private static func check(_ entry: ImageFile.Entry?, _ path: String) throws(ModuleError) {
    guard let entry else {
      throw ModuleError(path, ENOEXEC, "no module: it does not export \(QUIESCENT_MODULE_SYMBOL)")
    }
    // First: another ABI may lay out all later fields differently.
    if entry.abi != QUIESCENT_MODULE_ABI {
      throw ModuleError(
        path, ENOEXEC, "built for module ABI \(entry.abi), this host has \(QUIESCENT_MODULE_ABI)")
    }
    // Every module has these fields; later versions of the header added the rest.
    if entry.size < 48 {
      throw ModuleError(path, ENOEXEC, "its entry is \(entry.size) bytes, too small for its ABI")
    }
    guard let name = entry.name, ModuleName.isValid(name) else {
      throw ModuleError(path, EINVAL, "its name is not made of letters, digits, '_', '-' and '.'")
    }
    if !entry.hasInit { throw ModuleError(path, ENOEXEC, "it has no init") }
  }

  /// Unmaps the image. Returns nil if the mappings of the process show that it is gone; otherwise
  /// the reason why it stayed.
  func close() -> String? {
    if dlclose(handle) != 0 {
      return dlerror().map { Self.oneLine(String(cString: $0), without: path) } ?? "dlclose failed"
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
    of symbol: UnsafeMutableRawPointer, _ path: String
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
