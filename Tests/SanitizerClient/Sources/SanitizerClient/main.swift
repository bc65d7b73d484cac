import Glibc
import Quiescence

// One correct or broken use of one flavor, for the thread sanitizer to judge: SanitizerClient
// FLAVOR USE.
//
// The threads wait for each other by relaxed flags, which order nothing: only the flavor orders the
// threads. No use depends on timing, and none accesses freed memory: the broken uses only lack an
// order, as in a program that has not failed so far.

let flavors: [String: any Flavor.Type] = [
  "memb": Memb.self, "mb": MB.self, "bulletproof": Bulletproof.self, "qsbr": QSBR.self,
]
let arguments = CommandLine.arguments
guard arguments.count == 3, let flavor = flavors[arguments[1]], let use = Use(rawValue: arguments[2]) else {
  print("SanitizerClient \(flavors.keys.sorted()) \(Use.allCases.map(\.rawValue))")
  exit(2)
}

let shared = Shared()
shared.startReader { flavor.runReader(use, shared) }
flavor.runWriter(use, shared)
