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

  static func load(into manager: ModuleManager) throws {
    do { _ = try manager.load(path: try path()) } catch let error as ModuleError {
      throw MeasurementError("the module does not load: \(error)")
    }
  }
}

/// The module's hook for the peers, from an image that only they use: the manager maps a copy of
/// the file for itself.
final class TrafficHook {
  let function: peer_hook
  private let image: UnsafeMutableRawPointer

  init() throws {
    guard let image = dlopen(try TrafficModule.path(), RTLD_NOW | RTLD_LOCAL) else {
      throw MeasurementError("traffic.so cannot be opened")
    }
    guard let address = dlsym(image, "traffic_hook") else {
      dlclose(image)
      throw MeasurementError("traffic.so has no function traffic_hook")
    }
    self.image = image
    function = unsafeBitCast(address, to: peer_hook.self)
  }

  /// Call the function no longer. The peer of the experiment `unload` unmaps the same file, and
  /// this reference would keep it mapped.
  deinit { dlclose(image) }
}
