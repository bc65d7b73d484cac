internal import Glibc
internal import Quiescence

/// The paths of the images that are mapped. The loader takes two images for one when their paths
/// are equal, and the number of a descriptor comes back when it was closed.
///
///     load 1                    unload 1                   load 2
///     /proc/9/fd/7 is mapped
///                               its image stays mapped;
///                               closes 7
///                                                          its copy is 7 as well:
///                                                          the loader returns image 1
enum ImageNames {
  private static let names = Locked<Set<String>>([])
  /// Descriptors of images that stay mapped for good, the oldest first. A debugger opens these.
  private static let kept = Locked<[Int32]>([])
  /// How many stay open. A process that loads such a module again and again must not run out of
  /// descriptors.
  static let keptLimit = 64

  /// A path by which the loader finds the file of a descriptor, and which no mapped image has.
  static func claim(_ descriptor: Int32, _ file: String) throws(ModuleError) -> String {
    // Others open it too: `self` would be the debugger.
    for folder in ["/proc/\(getpid())/", "/proc/self/"] where isSame(descriptor, "\(folder)fd/\(descriptor)")
    {
      return names.withLock { names in
        var number = 0
        while true {
          let name = "\(folder)\(spelling(number))fd/\(descriptor)"
          if names.insert(name).inserted { return name }
          number += 1
        }
      }
    }
    throw ModuleError(file, ENOSYS, "/proc is not mounted, by which the loader finds its copy")
  }

  /// For the path of an image that is unmapped.
  static func release(_ name: String) { names.withLock { _ = $0.remove(name) } }

  /// For a descriptor of an image that stays mapped. Its path is not used again.
  static func keep(_ descriptor: Int32) {
    let closed = kept.withLock { kept in
      kept.append(descriptor)
      return kept.count > keptLimit ? kept.removeFirst() : nil
    }
    if let closed { close(closed) }
  }

  /// What changes a path and not its meaning: a `./` for each 1 in the number, a `/` for each 0.
  private static func spelling(_ number: Int) -> String {
    number == 0 ? "" : String(number, radix: 2).map { $0 == "1" ? "./" : "/" }.joined()
  }

  private static func isSame(_ descriptor: Int32, _ path: String) -> Bool {
    var (open, named) = (stat(), stat())
    return fstat(descriptor, &open) == 0 && stat(path, &named) == 0
      && FileIdentity(open) == FileIdentity(named)
  }
}
