/// What a module may be called, and which names mean the same module.
public enum ModuleName {
  /// Whether a module can be called so: letters, digits, `_`, `-` and `.`, 1 to 64 of them.
  ///
  /// - Complexity: O(length of the name).
  public static func isValid(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count) && name.utf8.allSatisfy(isNameByte)
  }

  /// The name with each `-` replaced by `_`: two names mean the same module if their keys are
  /// equal, as for modprobe(8).
  ///
  /// - Complexity: O(length of the name); allocates only for a name that contains a `-`.
  public static func key(_ name: String) -> String {
    if !name.utf8.contains(UInt8(ascii: "-")) { return name }
    return String(name.map { $0 == "-" ? "_" : $0 })
  }

  /// The name that a module's file stands for: `/a/b.so` gives `b`.
  public static func ofFile(_ path: String) -> String {
    let slash = UInt8(ascii: "/")
    guard let end = path.utf8.lastIndex(where: { $0 != slash }) else { return path }
    let whole = path.utf8[...end]
    let last = whole.lastIndex(of: slash).map { whole[whole.index(after: $0)...] } ?? whole
    let isImage = last.suffix(3).elementsEqual(".so".utf8)
    return String(Substring(isImage ? last.dropLast(3) : last))
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
      true
    default: false
    }
  }
}
