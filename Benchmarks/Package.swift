// swift-tools-version: 6.1
import PackageDescription

// A client of the library, as its users are: public API only, no flags. In release mode SwiftPM compiles the peers
// in C with -O2.
let package = Package(
  name: "quiescence-benchmarks",
  products: [.executable(name: "ratios", targets: ["Ratios"])],
  dependencies: [
    .package(name: "swift-quiescence", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.5.0"),
  ],
  targets: [
    .target(
      name: "CPeers",
      linkerSettings: [
        .linkedLibrary("urcu-memb"), .linkedLibrary("urcu-mb"), .linkedLibrary("urcu-bp"),
        .linkedLibrary("urcu-qsbr"),
      ]),
    .executableTarget(
      name: "Ratios",
      dependencies: [
        "CPeers",
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
