import CPeers
import Foundation
import ModuleManager

/// The module that is loaded and unloaded: Modules/traffic.c, which Scripts/bench builds beside the
/// program.
enum TrafficModule {
  static let name = "traffic"
  static let argumentType = "count.1"

  static func path() throws -> String {
    let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = URL(fileURLWithPath: program ?? CommandLine.arguments[0]).deletingLastPathComponent()
      .appendingPathComponent("traffic.so").path
    if !FileManager.default.fileExists(atPath: path) {
      throw MeasurementError("traffic.so is not beside the program; Scripts/bench builds it")
    }
    return path
  }

  /// The module's hook, by name. The image stays mapped: the peers that call it know of no unload.
  static func hook() throws -> peer_hook {
    guard let image = dlopen(try path(), RTLD_NOW), let address = dlsym(image, "traffic_hook") else {
      throw MeasurementError("traffic.so has no function traffic_hook")
    }
    return unsafeBitCast(address, to: peer_hook.self)
  }

  static func load(into manager: ModuleManager) throws {
    do { _ = try manager.load(path: try path()) } catch let error as ModuleError {
      throw MeasurementError("the module does not load: \(error)")
    }
  }
}
