// swift-tools-version: 6.1
import PackageDescription

// A package of its own, so that the comparison builds without it. The harness expects targets in a
// folder named Benchmarks.
let package = Package(
  name: "quiescence-regression",
  dependencies: [
    .package(name: "swift-quiescence", path: "../.."),
    // Without its traits, which would replace malloc and the runtime's reference counting. Nothing
    // here needs that.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "HotPaths",
      dependencies: [
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "Bigref", package: "swift-quiescence"),
        .product(name: "ModuleManager", package: "swift-quiescence"),
      ],
      path: "Benchmarks/HotPaths",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6]
)
