// swift-tools-version: 6.1
import PackageDescription

// Built by Scripts/fuzz, which gives the options of the sanitizers to every target: the code that is
// fuzzed has to count which of its branches were taken. libFuzzer has the `main`.
let library: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

let package = Package(
  name: "fuzzing",
  dependencies: [
    .package(name: "swift-quiescence", path: ".."),
    .package(name: "quiesce-tools", path: "../Tools"),
  ],
  targets: [
    .executableTarget(
      name: "FuzzImage",
      dependencies: [.product(name: "ModuleFiles", package: "swift-quiescence")],
      swiftSettings: library),
    .executableTarget(
      name: "FuzzControl",
      dependencies: [.product(name: "ControlProtocol", package: "quiesce-tools")],
      swiftSettings: library),
  ],
  swiftLanguageModes: [.v6]
)
