// swift-tools-version: 6.1
import PackageDescription

/// Every Swift target: lifetimes let a section's references be tied to the section.
let lifetimes: [SwiftSetting] = [.enableExperimentalFeature("Lifetimes")]

let package = Package(
  name: "swift-quiescence",
  products: [
    .library(name: "Quiescence", targets: ["Quiescence"]),
    .library(name: "QuiescentCollections", targets: ["QuiescentCollections"]),
    .library(name: "Bigref", targets: ["Bigref"]),
    .library(name: "ModuleFiles", targets: ["ModuleFiles"]),
    .library(name: "ModuleManager", targets: ["ModuleManager"]),
    .library(name: "CModuleABI", targets: ["CModuleABI"]),
  ],
  targets: [
    .systemLibrary(name: "CURCU", pkgConfig: "liburcu-memb", providers: [.apt(["liburcu-dev"])]),
    .target(
      name: "_QuiescenceShims", dependencies: ["CURCU"],
      linkerSettings: [
        .linkedLibrary("urcu-memb"), .linkedLibrary("urcu-mb"), .linkedLibrary("urcu-bp"),
        .linkedLibrary("urcu-qsbr"),
      ]),
    .target(name: "Quiescence", dependencies: ["_QuiescenceShims"], swiftSettings: lifetimes),
    .target(name: "QuiescentCollections", dependencies: ["Quiescence"], swiftSettings: lifetimes),
    .target(name: "Bigref", dependencies: ["Quiescence"], swiftSettings: lifetimes),
    .target(name: "CModuleABI"),
    .target(name: "_ImageShims"),
    .target(
      name: "ModuleFiles", dependencies: ["CModuleABI", "Quiescence"], swiftSettings: lifetimes),
    .target(
      name: "ModuleManager", dependencies: ["Bigref", "CModuleABI", "ModuleFiles", "_ImageShims"],
      exclude: ["KMOD.md", "IMAGES.md", "MISBEHAVIOR.md", "DIAGNOSIS.md", "Schemes/SCHEMES.md"],
      swiftSettings: lifetimes),
    .target(
      name: "BrokenSchemes", dependencies: ["ModuleManager"], path: "Tests/BrokenSchemes",
      swiftSettings: lifetimes),
    .target(name: "TestSupport", dependencies: ["Quiescence"], path: "Tests/TestSupport"),
    .target(name: "ProcessEdges", path: "Tests/ProcessEdges"),
    .testTarget(
      name: "QuiescenceTests",
      dependencies: ["ProcessEdges", "Quiescence", "SequenceVariants", "TestSupport", "_QuiescenceShims"],
      exclude: ["BEHAVIORS.md"],
      swiftSettings: lifetimes),
    .testTarget(
      name: "QuiescentCollectionsTests", dependencies: ["QuiescentCollections", "TestSupport"],
      exclude: ["CONTRACTS.md"],
      swiftSettings: lifetimes),
    .target(name: "SequenceVariants", dependencies: ["_QuiescenceShims"], path: "Tests/SequenceVariants"),
    .testTarget(
      name: "BigrefTests", dependencies: ["Bigref", "ProcessEdges", "SequenceVariants", "TestSupport"],
      swiftSettings: lifetimes),
    .testTarget(
      name: "ModuleFilesTests", dependencies: ["CModuleABI", "ModuleFiles", "TestSupport"],
      swiftSettings: lifetimes),
    .testTarget(
      name: "ModuleManagerTests",
      dependencies: ["BrokenSchemes", "ModuleFiles", "ModuleManager", "QuiescentCollections", "TestSupport"],
      swiftSettings: lifetimes),
  ],
  swiftLanguageModes: [.v6]
)
