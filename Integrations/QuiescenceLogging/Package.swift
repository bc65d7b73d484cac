// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "quiescence-logging",
  products: [.library(name: "QuiescenceLogging", targets: ["QuiescenceLogging"])],
  dependencies: [
    .package(name: "swift-quiescence", path: "../.."),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
  ],
  targets: [
    .target(
      name: "QuiescenceLogging",
      dependencies: [
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "QuiescenceLoggingTests",
      dependencies: ["QuiescenceLogging", .product(name: "InMemoryLogging", package: "swift-log")]),
  ],
  swiftLanguageModes: [.v6]
)
