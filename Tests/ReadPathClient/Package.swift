// swift-tools-version: 6.1
import PackageDescription

// A client of the library, as a user would write one. `check` beside this file reads its machine
// code.
let package = Package(
  name: "read-path-client",
  dependencies: [.package(name: "swift-quiescence", path: "../..")],
  targets: [
    .executableTarget(
      name: "ReadPathClient",
      dependencies: [
        .product(name: "Bigref", package: "swift-quiescence"),
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "QuiescentCollections", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ])
  ],
  swiftLanguageModes: [.v6]
)
