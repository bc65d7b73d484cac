// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "quiescence-lifecycle",
  products: [.library(name: "QuiescenceLifecycle", targets: ["QuiescenceLifecycle"])],
  dependencies: [
    .package(name: "swift-quiescence", path: "../.."),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
  ],
  targets: [
    .target(
      name: "QuiescenceLifecycle",
      dependencies: [
        .product(name: "ModuleManager", package: "swift-quiescence"),
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(
      name: "QuiescenceLifecycleTests",
      dependencies: [
        "QuiescenceLifecycle",
        .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
