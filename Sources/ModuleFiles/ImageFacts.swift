/// What the file of an image shows before any of its code runs.
public struct ImageFacts: Hashable, Sendable {
  /// The version of the interface in `quiescent_module.h` that it was built for; nil when it
  /// exports no `quiescent_module` of its own, and so is no module.
  public let abi: UInt32?
  /// The libraries that it needs (`DT_NEEDED`), in the order of the file.
  public let needed: [String]
  /// The name by which other images need it (`DT_SONAME`).
  public let soname: String?
  /// How many functions run when it is loaded.
  public let constructors: Int
  /// How many functions run when it is unloaded.
  public let destructors: Int
  /// It has metadata of full Swift (`swift5_*` sections), which the runtime keeps pointers to.
  public let hasSwiftMetadata: Bool
  /// The loader never unmaps it (`DF_1_NODELETE`).
  public let isNeverUnmapped: Bool
  /// How many symbols it defines of which the process has one (`STB_GNU_UNIQUE`).
  public let uniqueSymbols: Int
  /// It has thread-local storage.
  public let hasThreadLocals: Bool
  /// It has thread-local variables with destructors, which run when their threads end.
  public let hasThreadLocalDestructors: Bool
}
