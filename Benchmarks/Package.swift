// swift-tools-version: 6.1
import Foundation
import PackageDescription

// A client of the library like any other: it uses only public API. In release mode SwiftPM compiles
// the peers in C and C++ with -O2. Peers that are not installed are left out, and the program says
// so. Scripts/bench makes SwiftPM evaluate this file in every run, so that newly installed peers
// are found.

func isInstalled(_ header: String) -> Bool {
  ["/usr/include", "/usr/local/include"].contains { folder in
    FileManager.default.fileExists(atPath: "\(folder)/\(header)")
  }
}

var peerSettings: [CSetting] = []
var peerLibraries: [LinkerSetting] = [
  .linkedLibrary("urcu-memb"), .linkedLibrary("urcu-mb"), .linkedLibrary("urcu-bp"),
  .linkedLibrary("urcu-qsbr"), .linkedLibrary("urcu-cds"),
]
if isInstalled("ck_epoch.h") {
  peerSettings.append(.define("PEER_CONCURRENCY_KIT"))
  peerLibraries.append(.linkedLibrary("ck"))
}
#if arch(x86_64)
  let multiarch = "/usr/include/x86_64-linux-gnu/dpdk"
#else
  let multiarch = "/usr/include/aarch64-linux-gnu/dpdk"
#endif
if isInstalled("dpdk/rte_rcu_qsbr.h") {
  peerSettings.append(.define("PEER_DPDK"))
  peerSettings.append(.unsafeFlags(["-isystem", "/usr/include/dpdk", "-isystem", multiarch]))
  peerLibraries += [.linkedLibrary("rte_rcu"), .linkedLibrary("rte_eal")]
}

let package = Package(
  name: "quiescence-benchmarks",
  products: [.executable(name: "bench", targets: ["Bench"])],
  dependencies: [
    .package(name: "swift-quiescence", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-atomics.git", from: "1.3.0"),
  ],
  targets: [
    .target(name: "CPeers", cSettings: peerSettings, linkerSettings: peerLibraries),
    .executableTarget(
      name: "Bench",
      dependencies: [
        "CPeers",
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "QuiescentCollections", package: "swift-quiescence"),
        .product(name: "Bigref", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Atomics", package: "swift-atomics"),
      ]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)
