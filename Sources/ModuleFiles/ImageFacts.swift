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
  /// The functions that it imports by which its code can have the process call it later, sorted:
  /// they start threads and timers, install handlers, or find any function by its name.
  public let lastingCalls: [String]
}

extension ImageFacts {
  /// Why its image stays mapped after the module is unloaded; nil if it is unmapped.
  ///
  /// Source: glibc 2.36, elf/dl-lookup.c, `do_lookup_unique`; stdlib/cxa_thread_atexit_impl.c;
  /// stdlib/on_exit.c; stdlib/cxa_at_quick_exit.c.
  public var residency: String? {
    if hasSwiftMetadata { return "it has metadata of full Swift, which the Swift runtime keeps pointers to" }
    if isNeverUnmapped { return "it is linked with -z nodelete" }
    if uniqueSymbols > 0 {
      return "it defines \(uniqueSymbols) unique symbol\(uniqueSymbols == 1 ? "" : "s") "
        + "(STB_GNU_UNIQUE), as C++ has for statics of templates and inline functions"
    }
    if hasThreadLocalDestructors {
      return "it has thread-local variables with destructors, which run when their threads end"
    }
    for name in ["on_exit", "__cxa_at_quick_exit"] where lastingCalls.contains(name) {
      return "it imports \(name), whose handlers run when the process ends"
    }
    return nil
  }

  /// Whether its code can leave something behind that calls it later.
  package var mayLeaveSomethingBehind: Bool { !lastingCalls.isEmpty || needsOtherLibraries }

  /// Whether a library other than those of the C and C++ languages can leave something behind for
  /// it.
  package var needsOtherLibraries: Bool {
    lastingCalls.contains { $0.hasPrefix("dl") } || !otherLibraries.isEmpty
  }

  /// What it needs beside the libraries of the C and C++ languages.
  package var otherLibraries: [String] {
    needed.filter { library in !Self.languageLibraries.contains { library.hasPrefix($0) } }
  }

  /// Whether its code can start a `std::thread`.
  package var usesThreadClass: Bool { lastingCalls.contains { $0.hasPrefix("_ZNSt6thread") } }

  private static let languageLibraries = [
    "libc.so.", "libm.so.", "libpthread.so.", "libdl.so.", "librt.so.", "ld-linux", "libgcc_s.so.",
    "libstdc++.so.", "libc++.so.", "libc++abi.so.",
  ]

  /// Whether a function of that name is one of ``lastingCalls``.
  static func isLasting(_ name: UnsafeRawBufferPointer) -> Bool {
    lastingNames.contains { $0.elementsEqual(name) } || name.starts(with: threadClass)
  }

  private static let lastingNames: [[UInt8]] = [
    "pthread_create", "thrd_create", "clone", "clone3", "syscall", "timer_create", "mq_notify",
    "getaddrinfo_a", "aio_read", "aio_write", "aio_fsync", "lio_listio", "sigaction", "signal", "sigset",
    "bsd_signal", "__sysv_signal", "sysv_signal", "ssignal", "pthread_key_create", "__pthread_key_create",
    "tss_create", "on_exit", "__cxa_at_quick_exit", "dlsym", "dlvsym", "dlopen", "dlmopen",
  ].map { Array($0.utf8) }

  /// `std::thread`, whose members start threads from within the C++ library.
  private static let threadClass = Array("_ZNSt6thread".utf8)
}
