internal import CModuleABI
internal import Glibc
internal import ModuleFiles

/// The copy of a module's file, inspected, before anything of it is mapped for execution.
final class PreparedImage: Sendable {
  /// The file that it was read from.
  let path: String
  /// That file, whatever its name.
  let identity: FileIdentity
  let copy: ImageCopy
  let file: ImageFile
  let info: ModuleInfo
  /// What the module calls itself.
  let name: String
  /// How many verifiers have seen it.
  let verifiers: Int

  /// Reads the file, has it verified, and inspects it. Blocks for the file system and the
  /// verifiers. Runs no code of the file.
  ///
  /// - Throws: as ``ImageSource/init(_:)`` and ``ImageCopy/init(of:in:)``; what a verifier says;
  ///   `ENOEXEC` for what a loader could not map, for what is no module of this ABI, and `EINVAL`
  ///   for a bad name.
  init(_ path: String, in place: CopyPlace, verifiedBy verifiers: [ModuleVerifier]) throws(ModuleError) {
    let source = try ImageSource(path)
    let copy = try ImageCopy(of: source, in: place)
    let content = try copy.content(path)
    // First: what was not signed by a known key is not interpreted.
    for verifier in verifiers {
      let refusal = content.withUnsafeBytes { verifier.verify($0.bytes, source.path) }
      if let refusal {
        throw ModuleError(path, refusal.errno, "\(verifier.name) refuses it: \(refusal.reason)")
      }
    }
    self.verifiers = verifiers.count
    let file: ImageFile
    do throws(ModuleFileError) { file = try ImageFile(content, path) } catch { throw ModuleError(error) }
    name = try Self.name(file.entry, path)
    do throws(ModuleFileError) { info = try ModuleInfo(file, source.path) } catch { throw ModuleError(error) }
    self.path = source.path
    identity = source.identity
    self.copy = copy
    self.file = file
  }

  private static func name(_ entry: ImageFile.Entry?, _ path: String) throws(ModuleError) -> String {
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
    return name
  }
}
