extension Contender {
  /// The equivalent contender in C, if there is one; otherwise the contender in C that it could
  /// replace.
  static func inC(_ name: String) -> String {
    switch name {
    case "RCUBox.load, QSBR", "RCUBox.read, QSBR", "RCUPointer.load, QSBR", "Atomic.load, Swift",
      "ManagedAtomicLazyReference",
      "qsbr, C inlined", "plain load, C":
      "plain load, C"
    case "RCUBox.read, Bulletproof", "bp, C called", "bp, C inlined": "bp, C inlined"
    case "RCUBox.read, MB", "mb, C called", "mb, C inlined": "mb, C inlined"
    case "Mutex, Swift", "Mutex of a reference, Swift", "pthread_mutex, C": "pthread_mutex, C"
    case "AtomicReference.load": "std::atomic<std::shared_ptr>, C++"
    default: "memb, C inlined"
    }
  }

  /// The same for experiments where the flavor's own work matters, such as its grace periods:
  /// compares with the same flavor in C.
  static func ownInC(_ name: String) -> String {
    name == "RCUBox.read, QSBR" ? "qsbr, C inlined" : inC(name)
  }
}
