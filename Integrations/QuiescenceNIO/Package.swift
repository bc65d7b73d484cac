// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "quiescence-nio",
  products: [.library(name: "QuiescenceNIO", targets: ["QuiescenceNIO"])],
  dependencies: [
    .package(name: "swift-quiescence", path: "../.."),
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
  ],
  targets: [
    .target(
      name: "QuiescenceNIO",
      dependencies: [
        .product(name: "Quiescence", package: "swift-quiescence"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .testTarget(
      name: "QuiescenceNIOTests",
      dependencies: ["QuiescenceNIO", .product(name: "NIOEmbedded", package: "swift-nio")]),
  ],
  swiftLanguageModes: [.v6]
)
