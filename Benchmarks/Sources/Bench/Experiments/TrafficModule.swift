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

  /// The hook of the loaded module, for the peers. Call it no longer once the module is unloaded.
  static func hook() throws -> peer_hook {
    guard let image = dlopen(try path(), RTLD_NOW) else {
      throw MeasurementError("traffic.so cannot be opened")
    }
    // The manager's reference keeps the image mapped. With a second one, the unload would leave it
    // mapped, and the next experiment could not load the module.
    defer { dlclose(image) }
    guard let address = dlsym(image, "traffic_hook") else {
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
