// swift-tools-version: 6.1
import PackageDescription

/// Reads of RCU-protected values are tied to their section.
let lifetimes: [SwiftSetting] = [.enableExperimentalFeature("Lifetimes")]

let package = Package(
  name: "quiesce-tools",
  products: [
    .executable(name: "quiesce", targets: ["quiesce"]),
    // For the package that fuzzes it.
    .library(name: "ControlProtocol", targets: ["ControlProtocol"]),
  ],
  dependencies: [
    .package(name: "swift-quiescence", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
    .package(url: "https://github.com/LebJe/TOMLKit.git", from: "0.6.0"),
  ],
  targets: [
    .target(
      name: "CRelay", dependencies: [.product(name: "CModuleABI", package: "swift-quiescence")]),
    .target(
      name: "Relay",
      dependencies: [
        "CRelay",
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ],
      swiftSettings: lifetimes),
    .target(name: "Traffic", dependencies: ["CRelay", "Relay"], swiftSettings: lifetimes),
    .target(name: "CControl"),
    .target(
      name: "ControlProtocol",
      dependencies: [
        "CControl", "Relay",
        .product(name: "ModuleFiles", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ]),
    .target(
      name: "ModuleSigning",
      dependencies: [
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "ModuleFiles", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ]),
    .target(name: "ToolSupport", dependencies: ["CControl", "ControlProtocol"]),
    .target(name: "ControlClient", dependencies: ["CControl", "ControlProtocol"]),
    .target(
      name: "ControlServer",
      dependencies: [
        "CControl", "ControlProtocol", "Relay", "ToolSupport",
        .product(name: "Bigref", package: "swift-quiescence"),
        .product(name: "ModuleFiles", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ],
      swiftSettings: lifetimes),
    .target(name: "CTorture"),
    .target(
      name: "Torture",
      dependencies: ["CTorture", .product(name: "Quiescence", package: "swift-quiescence")],
      swiftSettings: lifetimes),
    .executableTarget(
      name: "quiesce",
      dependencies: [
        "CControl", "ControlClient", "ControlProtocol", "ControlServer", "ModuleSigning", "Relay",
        "ToolSupport", "Torture", "Traffic",
        .product(name: "ModuleFiles", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TOMLKit", package: "TOMLKit"),
      ],
      swiftSettings: lifetimes,
      // The other one warns of functions in Foundation, when that is linked in, which no code here
      // calls.
      linkerSettings: [.unsafeFlags(["-use-ld=lld"])]),
    .testTarget(
      name: "RelayTests",
      dependencies: [
        "CRelay", "Relay", "Traffic",
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ],
      swiftSettings: lifetimes),
    .testTarget(
      name: "ControlTests",
      dependencies: [
        "CControl", "ControlClient", "ControlProtocol", "ControlServer", "ModuleSigning", "Relay",
        "ToolSupport", "Traffic", "quiesce",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Bigref", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ],
      swiftSettings: lifetimes),
    .testTarget(
      name: "TortureTests",
      dependencies: ["Torture", "quiesce", .product(name: "Quiescence", package: "swift-quiescence")],
      swiftSettings: lifetimes),
  ],
  swiftLanguageModes: [.v6]
)
