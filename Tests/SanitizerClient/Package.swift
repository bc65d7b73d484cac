// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "SanitizerClient",
  dependencies: [.package(name: "swift-quiescence", path: "../..")],
  targets: [
    .executableTarget(
      name: "SanitizerClient", dependencies: [.product(name: "Quiescence", package: "swift-quiescence")])
  ],
  swiftLanguageModes: [.v6]
)
