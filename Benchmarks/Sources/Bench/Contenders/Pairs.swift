extension Contender {
  /// The contender in C that does the same, for each that has one; for the others what they would replace.
  static func inC(_ name: String) -> String {
    switch name {
    case "RCUBox.load, QSBR", "RCUBox.read, QSBR", "Atomic.load, Swift", "ManagedAtomicLazyReference",
      "qsbr, C inlined", "plain load, C":
      "plain load, C"
    case "RCUBox.read, Bulletproof", "bp, C called", "bp, C inlined": "bp, C inlined"
    case "RCUBox.read, MB", "mb, C called", "mb, C inlined": "mb, C inlined"
    case "Mutex, Swift", "Mutex of a reference, Swift", "pthread_mutex, C": "pthread_mutex, C"
    case "AtomicReference.load": "std::atomic<std::shared_ptr>, C++"
    default: "memb, C inlined"
    }
  }

  /// The same where a flavor's own work counts, such as its grace periods: with the flavor's form in C.
  static func ownInC(_ name: String) -> String {
    name == "RCUBox.read, QSBR" ? "qsbr, C inlined" : inC(name)
  }
}
