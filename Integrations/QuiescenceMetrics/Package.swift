// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "quiescence-metrics",
  products: [.library(name: "QuiescenceMetrics", targets: ["QuiescenceMetrics"])],
  dependencies: [
    .package(name: "swift-quiescence", path: "../.."),
    .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
  ],
  targets: [
    .target(
      name: "QuiescenceMetrics",
      dependencies: [
        .product(name: "ModuleManager", package: "swift-quiescence"),
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "Metrics", package: "swift-metrics"),
      ]),
    .testTarget(
      name: "QuiescenceMetricsTests",
      dependencies: ["QuiescenceMetrics", .product(name: "MetricsTestKit", package: "swift-metrics")]),
  ],
  swiftLanguageModes: [.v6]
)
