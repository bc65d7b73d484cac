internal import Bigref
public import Quiescence

/// A module that is compiled into the host: the same life as one in an image, and nothing to unmap.
///
/// ```swift
/// let drop = BuiltInModule("drop") { host in
///   host.register(on: ingress) { length in length < 64 ? .drop : .accept }
/// }
/// let manager = ModuleManager()
/// try manager.load(drop)
/// try manager.unload("drop")
/// ```
///
/// Its functions run on a thread of the manager, and may block: that holds up this module alone.
/// They answer 0 or a negative errno.
///
/// Source: Keith Owens, 9 July 2002: the only difference to a module in an image "is whether the
/// code and data areas are freed or left".
public struct BuiltInModule: ModuleCode {
  let name: String
  let version: String?
  let summary: String?
  /// The modules that it needs, compiled in or not.
  let dependsOn: [String]
  let isPermanent: Bool
  let exitsAfterFailedInit: Bool
  let parameters: [any ParameterSlot]
  private let start: @Sendable (ModuleHost) -> Int32
  private let stop: (@Sendable () -> Void)?
  private let exit: @Sendable () -> Int32

  /// Describes a module; `ModuleManager.load(_:policy:parameters:)` starts it.
  ///
  /// - Parameters:
  ///   - name: Unique among the loaded modules, where `-` and `_` are the same.
  ///   - version: For lists.
  ///   - summary: One line about the module, for lists.
  ///   - dependsOn: modules that are there before it starts, and stay until it is gone; compiled in
  ///     or not.
  ///   - parameters: Its parameters, which `ModuleManager.parameters(of:)` lists.
  ///   - exitsAfterFailedInit: `exit` cleans up what a failed `start` left.
  ///   - start: sets up and registers. After an error what it registered is taken down.
  ///   - stop: the interfaces are down and no call is under way; for the scheme that has it.
  ///   - exit: nothing of the module is in use any more; it may refuse.
  public init(
    _ name: String, version: String? = nil, summary: String? = nil, dependsOn: [String] = [],
    parameters: [AnyModuleParameter] = [], exitsAfterFailedInit: Bool = false,
    start: @escaping @Sendable (ModuleHost) -> Int32, stop: (@Sendable () -> Void)? = nil,
    exit: @escaping @Sendable () -> Int32
  ) {
    self.name = name
    self.version = version
    self.summary = summary
    self.dependsOn = dependsOn
    self.parameters = parameters.map(\.slot)
    self.exitsAfterFailedInit = exitsAfterFailedInit
    isPermanent = false
    self.start = start
    self.stop = stop
    self.exit = exit
  }

  /// Describes a module that only registers something.
  public init(
    _ name: String, dependsOn: [String] = [], parameters: [AnyModuleParameter] = [],
    start: @escaping @Sendable (ModuleHost) -> Int32
  ) {
    self.init(name, dependsOn: dependsOn, parameters: parameters, start: start, exit: { 0 })
  }

  func callInit(_ module: Module) -> Int32 { start(ModuleHost(module)) }
  func callCleanup(force: Bool) -> Int32? { nil }
  var hasStop: Bool { stop != nil }
  func callStop() { stop?() }
  func callExit() -> Int32 { exit() }
  var hasUseCount: Bool { false }
  var useCount: Int { 0 }
}

/// What the host offers to a built-in module: as `struct quiescent_host` to one in an image.
public struct ModuleHost: Sendable {
  // Not owned: a module's closures hold this, and the module holds them. The manager keeps the
  // record until the module is gone.
  private unowned let module: Module

  init(_ module: Module) { self.module = module }

  var record: Module { module }

  /// Puts a hook on a point. 0, or `-EBUSY` when the module is not coming or live.
  public func register<Argument: ~Copyable, F: Flavor>(
    on point: HookPoint<Argument, F>, priority: Int = 0,
    _ body: @escaping @Sendable (inout Argument) -> Verdict
  ) -> Int32 {
    let closure = HookPoint<Argument, F>.closure(body)
    return module.link(closure.function, closure: closure, to: point, priority: priority)
  }

  /// Publishes a named object. 0, `-EEXIST` when the name is taken, or `-EBUSY`. `read` answers at
  /// most `capacity` bytes.
  public func publish(
    _ name: String, read: @escaping @Sendable (_ offset: UInt64, _ capacity: Int) -> [UInt8]
  ) -> Int32 {
    let object = NamedObject(name: name) { buffer, offset in
      let bytes = read(offset, buffer.count).prefix(buffer.count)
      UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes)
      return bytes.count
    }
    return module.manager.publish(object, of: module)
  }

  /// Takes a reference on the module; false once it is unloading.
  public func acquire() -> Bool {
    module.willCount()
    return module.get()
  }

  /// Gives a reference back.
  public func release() { module.put() }

  /// Takes a reference under a label, which "in use" errors and lists name. False
  /// once it is unloading.
  ///
  /// - Complexity: as ``acquire()``, a lock, and memory for a label that is new or longer than 15
  ///   bytes.
  /// - Threads: any, also inside hooks.
  public func acquire(for label: String) -> Bool {
    module.willCount()
    return module.get(for: label)
  }

  /// Gives back a reference that was taken under the label. Traps when there is none.
  ///
  /// - Complexity: as ``release()``, and a lock.
  public func release(for label: String) { module.put(for: label) }

  /// Takes a reference under the name of the place in the source that calls this, such as
  /// `Plugin/Session.swift:17`.
  ///
  /// - Returns: The label, for ``release(for:)``; nil once the module is unloading.
  /// - Complexity: as ``acquire(for:)``, and memory for the label.
  public func acquireHere(fileID: String = #fileID, line: Int = #line) -> String? {
    let label = "\(fileID):\(line)"
    return acquire(for: label) ? label : nil
  }

  /// Asks for the module's own unload, and returns at once: see
  /// ``ModuleManager/unloadLater(_:ifBusy:)``. For this load of the module, and no later one.
  @discardableResult
  public func unloadLater(ifBusy policy: BusyPolicy = .wait) -> UnloadRequest {
    UnloadRequest(of: module, policy)
  }

  /// A counter that keeps the module while it is not zero; nil when the module is unloading.
  public func counter(_ label: String) -> ModuleCounter? {
    module.makeCount(label: label).map { ModuleCounter(count: $0) }
  }
}

/// A counter of a built-in module.
public struct ModuleCounter: Sendable {
  let count: ModuleCount

  /// Counts one up: inside a hook, or while holding a count already.
  public func acquire() { count.acquire() }
  /// Counts one down.
  public func release() { count.release() }
  /// Whether it has no holders, and can have none any more.
  public var isZero: Bool { count.bigref.isZero }
}
