import Foundation
import Relay

/// A host's counters, as its relay counts them.
public typealias HostStatistics = RelayStatistics

/// The answer to `insmod`.
public struct InsmodReply: Codable, Sendable, Hashable {
  /// The name that the module gave itself.
  public let module: String

  /// How many hooks of modules the relay had called when the module was live.
  public let moduleCalls: Int

  /// Why its code will stay mapped after it is unloaded, as its file shows; nil if it will not.
  public let residentReason: String?

  /// For services that stand in for a host.
  public init(module: String, moduleCalls: Int, residentReason: String? = nil) {
    self.module = module
    self.moduleCalls = moduleCalls
    self.residentReason = residentReason
  }
}

/// The answer to `rmmod`.
public struct RmmodReply: Codable, Sendable, Hashable {
  /// The module that was unloaded.
  public let module: String

  /// Whether the module's code was checked to be gone from the host's mappings.
  public let unmapped: Bool

  /// How long the unload took in the host.
  public let unloadMicroseconds: Int

  /// Why the code stays mapped, when it does.
  public let residentReason: String?

  /// How many hooks of modules the relay had called when the module was gone.
  public let moduleCalls: Int

  /// For services that stand in for a host.
  public init(
    module: String, unmapped: Bool, unloadMicroseconds: Int, residentReason: String? = nil,
    moduleCalls: Int
  ) {
    self.module = module
    self.unmapped = unmapped
    self.unloadMicroseconds = unloadMicroseconds
    self.residentReason = residentReason
    self.moduleCalls = moduleCalls
  }

  private enum CodingKeys: String, CodingKey {
    case module, unmapped, residentReason, moduleCalls
    // The strategy of the coders makes it `unload_us`.
    case unloadMicroseconds = "unloadUs"
  }
}

/// The answer to `replace`: the new version serves.
public struct ReplaceReply: Codable, Sendable, Hashable {
  /// The module.
  public let module: String

  /// The version that the new one gives itself.
  public let version: String?

  /// Whether the old version's code was checked to be gone from the host's mappings.
  public let unmapped: Bool

  /// How long the unload of the old version took in the host.
  public let unloadMicroseconds: Int

  /// Why the old version is still there, and listed; nil when it has gone.
  public let waitsFor: String?

  /// Why the old version's code stays mapped, when it does.
  public let oldResidentReason: String?

  /// Why the new version's code will stay mapped after it is unloaded; nil if it will not.
  public let residentReason: String?

  /// Whether the new version goes on with the state of the old one.
  public let keepsState: Bool

  /// How many hooks of modules the relay had called then.
  public let moduleCalls: Int

  /// For services that stand in for a host.
  public init(
    module: String, version: String? = nil, unmapped: Bool, unloadMicroseconds: Int,
    waitsFor: String? = nil, oldResidentReason: String? = nil, residentReason: String? = nil,
    keepsState: Bool = false, moduleCalls: Int
  ) {
    self.module = module
    self.version = version
    self.unmapped = unmapped
    self.unloadMicroseconds = unloadMicroseconds
    self.waitsFor = waitsFor
    self.oldResidentReason = oldResidentReason
    self.residentReason = residentReason
    self.keepsState = keepsState
    self.moduleCalls = moduleCalls
  }

  private enum CodingKeys: String, CodingKey {
    case module, version, unmapped, waitsFor, oldResidentReason, residentReason, keepsState, moduleCalls
    // The strategy of the coders makes it `unload_us`.
    case unloadMicroseconds = "unloadUs"
  }
}

/// A module of the answer to `request`.
public struct RequestedModule: Codable, Sendable, Hashable {
  /// Its name.
  public let module: String

  /// Its file.
  public let path: String

  /// Whether it was loaded before.
  public let wasLoaded: Bool

  /// Whether it is there only because one that was asked for needs or wants it.
  public let isDependency: Bool

  /// For services that stand in for a host.
  public init(module: String, path: String, wasLoaded: Bool, isDependency: Bool) {
    self.module = module
    self.path = path
    self.wasLoaded = wasLoaded
    self.isDependency = isDependency
  }
}

/// The answer to `request`: everything that the module needs, in the order of loading.
public struct RequestReply: Codable, Sendable, Hashable {
  /// Itself is one of them.
  public let modules: [RequestedModule]

  /// For services that stand in for a host.
  public init(modules: [RequestedModule]) { self.modules = modules }
}

/// A parameter of a loaded module.
public struct ParameterRow: Codable, Sendable, Hashable {
  /// Its name.
  public let parameter: String

  /// What it holds, as it would be given.
  public let value: String

  /// `bool`, `int`, `list of uint` and so on.
  public let type: String

  /// Whether it can be changed now.
  public let writable: Bool

  /// For services that stand in for a host.
  public init(parameter: String, value: String, type: String, writable: Bool) {
    self.parameter = parameter
    self.value = value
    self.type = type
    self.writable = writable
  }
}

/// What a host's configuration says about a module.
public struct ModuleRules: Codable, Sendable, Hashable {
  /// Its name.
  public let module: String

  /// Whether its own aliases are ignored.
  public let isBlacklisted: Bool

  /// The aliases that the configuration adds.
  public let aliases: [String]

  /// What its parameters hold.
  public let options: [String: String]

  /// What is wanted before it.
  public let softBefore: [String]

  /// What is wanted after it.
  public let softAfter: [String]

  /// Whether requests load it.
  public let mayBeLoaded: Bool

  /// Whether `modprobe --remove` unloads it.
  public let mayBeUnloaded: Bool

  /// For services that stand in for a host.
  public init(
    module: String, isBlacklisted: Bool = false, aliases: [String] = [], options: [String: String] = [:],
    softBefore: [String] = [], softAfter: [String] = [], mayBeLoaded: Bool = true, mayBeUnloaded: Bool = true
  ) {
    self.module = module
    self.isBlacklisted = isBlacklisted
    self.aliases = aliases
    self.options = options
    self.softBefore = softBefore
    self.softAfter = softAfter
    self.mayBeLoaded = mayBeLoaded
    self.mayBeUnloaded = mayBeUnloaded
  }
}

/// The answer to `remove`.
public struct RemoveReply: Codable, Sendable, Hashable {
  /// What was unloaded, in order: the module, and what no module needs any more.
  public let modules: [String]

  /// Why code of the module stays, when it does.
  public let residentReason: String?

  /// For services that stand in for a host.
  public init(modules: [String], residentReason: String? = nil) {
    self.modules = modules
    self.residentReason = residentReason
  }
}

/// An object that this connection holds open.
public struct OpenReply: Codable, Sendable, Hashable {
  /// What `read` and `close` name it by.
  public let handle: Int

  /// The module that publishes it, and stays loaded meanwhile.
  public let module: String

  package init(handle: Int, module: String) {
    self.handle = handle
    self.module = module
  }
}

/// Replies whose one field is named like the verb's subject.
package struct ModulesReply: Codable {
  package let modules: [ModuleRow]

  package init(modules: [ModuleRow]) { self.modules = modules }
}

package struct UnloadedReply: Codable {
  package let unloaded: [UnloadedRow]

  package init(unloaded: [UnloadedRow]) { self.unloaded = unloaded }
}

package struct ParametersReply: Codable {
  package let parameters: [ParameterRow]

  package init(parameters: [ParameterRow]) { self.parameters = parameters }
}

package struct ConfigurationReply: Codable {
  package let modules: [ModuleRules]

  package init(modules: [ModuleRules]) { self.modules = modules }
}

package struct UnloadsReply: Codable {
  package let unloads: [UnloadRow]

  package init(unloads: [UnloadRow]) { self.unloads = unloads }
}

package struct ObjectsReply: Codable {
  package let objects: [String]

  package init(objects: [String]) { self.objects = objects }
}

package struct StatisticsReply: Codable {
  package let statistics: HostStatistics

  package init(statistics: HostStatistics) { self.statistics = statistics }
}

package struct ReadReply: Codable {
  package let data: Data

  package init(data: Data) { self.data = data }
}

package struct EmptyReply: Codable {
  package init() {}
}

/// The answer to `cancel`.
public struct CancelReply: Codable, Sendable, Hashable {
  /// The module.
  public let module: String
  /// How many requests were under way.
  public let cancelled: Int

  /// For services that stand in for a host.
  public init(module: String, cancelled: Int) {
    self.module = module
    self.cancelled = cancelled
  }
}

/// A reply as it is on the wire: `{"ok":true,…}` or `{"ok":false,"errno":"EBUSY","message":"…"}`.
package enum Reply<Body> {
  case success(Body)
  case refusal(ControlError)

  fileprivate enum Key: String, CodingKey {
    case ok, errno, message
  }
}

extension Reply: Encodable where Body: Encodable {
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    switch self {
    case .success(let body):
      try container.encode(true, forKey: .ok)
      try body.encode(to: encoder)
    case .refusal(let error):
      try container.encode(false, forKey: .ok)
      try container.encode(error.errnoName, forKey: .errno)
      try container.encode(error.message, forKey: .message)
    }
  }
}

extension Reply: Decodable where Body: Decodable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    if try container.decode(Bool.self, forKey: .ok) {
      self = .success(try Body(from: decoder))
    } else {
      let name = try container.decode(String.self, forKey: .errno)
      let message = try container.decode(String.self, forKey: .message)
      self = .refusal(ControlError(named: name, message))
    }
  }
}
