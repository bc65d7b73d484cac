internal import Glibc
internal import ModuleFiles

/// Libraries that a module needs and that are beside its file (`$ORIGIN` in its search path). The
/// loader would look for them beside the copy, where there is nothing. So they are loaded first;
/// the loader then finds them by name.
struct NeededLibraries: ~Copyable {
  private var handles: [UnsafeMutableRawPointer] = []

  /// Loads them. What cannot be loaded is left to the loader, which says what is missing.
  init(of file: borrowing ImageFile, at path: String) {
    let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? "."
    let paths = file.searchPaths
    if !paths.contains(where: Self.isRelative) { return }
    for name in file.facts.needed where !name.utf8.contains(UInt8(ascii: "/")) {
      if let loaded = dlopen(name, RTLD_NOW | RTLD_NOLOAD) {
        dlclose(loaded)
        continue
      }
      // The first folder that has it is the one that the loader would take.
      guard
        let found = paths.first(where: { access("\(Self.expanded($0, folder))/\(name)", R_OK) == 0 }),
        Self.isRelative(found)
      else { continue }
      if let handle = dlopen("\(Self.expanded(found, folder))/\(name)", RTLD_NOW | RTLD_LOCAL) {
        handles.append(handle)
      }
    }
  }

  /// The module holds them by now, or nothing does.
  deinit { for handle in handles { dlclose(handle) } }

  private static func isRelative(_ path: String) -> Bool { spelling(in: path) != nil }

  private static func spelling(in path: String) -> String? {
    ["$ORIGIN", "${ORIGIN}"].first { path.hasPrefix($0) }
  }

  private static func expanded(_ path: String, _ folder: String) -> String {
    spelling(in: path).map { folder + path.dropFirst($0.count) } ?? path
  }
}
