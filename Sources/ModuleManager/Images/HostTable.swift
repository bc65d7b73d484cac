internal import Bigref
internal import CModuleABI
internal import Glibc
internal import ModuleFiles
internal import Quiescence
internal import Synchronization

/// The functions that the host offers to C modules: `struct quiescent_host`, filled in once.
enum HostTable {
  /// Never changed after this, and never deallocated: modules keep the pointer.
  nonisolated(unsafe) static let pointer = UnsafePointer<quiescent_host>(make())

  private static func make() -> UnsafeMutablePointer<quiescent_host> {
    let table = UnsafeMutablePointer<quiescent_host>.allocate(capacity: 1)
    table.initialize(to: quiescent_host())
    table.pointee.abi = UInt32(QUIESCENT_MODULE_ABI)
    table.pointee.size = UInt32(MemoryLayout<quiescent_host>.size)
    fillInterfaces(table)
    fillCounts(table)
    fillRequests(table)
    table.pointee.services = ServiceTable.pointer
    return table
  }

  private static func fillInterfaces(_ table: UnsafeMutablePointer<quiescent_host>) {
    table.pointee.register_hook = { this, point, type, priority, hook, context in
      guard let point, let type, let hook else { return -EINVAL }
      return Module.from(this)._withUnsafeGuaranteedRef { module in
        module.link(
          HookFunction(call: hook, context: context), to: String(cString: point),
          expecting: String(cString: type), priority: Int(priority))
      }
    }
    table.pointee.publish = { this, name, read, context in
      guard let name, let read else { return -EINVAL }
      let string = String(cString: name)
      return Module.from(this)._withUnsafeGuaranteedRef { module in
        if !ModuleName.isValid(string) {
          return module.refuse(EINVAL) { "'\(string)' is no name: letters, digits, '_', '-' and '.'" }
        }
        return module.manager.publish(NamedObject(string, read, context), of: module)
      }
    }
  }

  private static func fillCounts(_ table: UnsafeMutablePointer<quiescent_host>) {
    table.pointee.acquire = { this in
      Module.from(this)._withUnsafeGuaranteedRef { module in
        module.willCount()
        return module.get() ? 0 : -EBUSY
      }
    }
    table.pointee.release = { this in
      Module.from(this)._withUnsafeGuaranteedRef { $0.put() }
    }
    table.pointee.acquire_for = { this, label in
      guard let label else { return -EINVAL }
      return Module.from(this)._withUnsafeGuaranteedRef { module in
        module.willCount()
        return module.get(for: String(cString: label)) ? 0 : -EBUSY
      }
    }
    table.pointee.release_for = { this, label in
      Module.from(this)._withUnsafeGuaranteedRef { $0.put(for: label.map { String(cString: $0) } ?? "") }
    }
    table.pointee.bigref_create = { this, label in
      Module.from(this)._withUnsafeGuaranteedRef {
        $0.makeCount(label: label.map { String(cString: $0) } ?? "unnamed")?.opaque
      }
    }
    table.pointee.bigref_acquire = { count in
      ModuleCount.from(count)._withUnsafeGuaranteedRef { $0.acquire() }
    }
    table.pointee.bigref_release = { count in
      ModuleCount.from(count)._withUnsafeGuaranteedRef { $0.release() }
    }
    table.pointee.bigref_is_zero = { count in
      ModuleCount.from(count)._withUnsafeGuaranteedRef { $0.bigref.isZero ? 1 : 0 }
    }
    table.pointee.bigref_approximate = { count in
      ModuleCount.from(count)._withUnsafeGuaranteedRef { Int64($0.bigref.approximateCount) }
    }
  }

  private static func fillRequests(_ table: UnsafeMutablePointer<quiescent_host>) {
    table.pointee.retire = { this, function, argument in
      guard let function else { return -EINVAL }
      Module.from(this)._withUnsafeGuaranteedRef { $0.retire(argument, with: function) }
      return 0
    }
    table.pointee.unload = { this in
      Module.from(this)._withUnsafeGuaranteedRef { module in
        if let error = module.manager.deadlock(module.name) { return -error.errno }
        return -module.startUnload()
      }
    }
    table.pointee.unload_later = { this in
      Module.from(this)._withUnsafeGuaranteedRef { -$0.startUnload() }
    }
    table.pointee.state = { this in Module.from(this)._withUnsafeGuaranteedRef { $0.stateAddress } }
    table.pointee.log = { this, line in
      guard let line else { return }
      Module.from(this)._withUnsafeGuaranteedRef { $0.manager.log($0, String(cString: line)) }
    }
  }
}

// MARK: - Calls from modules

extension Module {
  /// Asks for its own unload. Returns 0 or an errno.
  fileprivate func startUnload() -> Int32 {
    manager.startUnload(of: self, .wait, RequestEnd(manager.queue)) { _ in }
  }

  /// Links a hook to the point of that name. Returns 0 or a negative errno.
  fileprivate func link(
    _ function: HookFunction, to name: String, expecting type: String, priority: Int
  ) -> Int32 {
    let points = manager.withState { $0.points }
    guard let point = points[name] else {
      return refuse(ENOENT) { "there is no hook point '\(name)'; \(Nearest.text(name, among: points.keys))" }
    }
    if point.argumentType != type {
      return refuse(EPROTOTYPE) { "hook point '\(name)' passes '\(point.argumentType)', not '\(type)'" }
    }
    return link(function, closure: nil, to: point, priority: priority)
  }

  /// Keeps the reason for the error of the load, if its `init` returns the number. Returns the
  /// negative errno.
  func refuse(_ errno: Int32, _ reason: @escaping @Sendable () -> String) -> Int32 {
    withLinks { links in
      if links.state == .coming { links.refusal = Refusal(errno: errno, reason: reason) }
    }
    return -errno
  }

  /// Links a hook while the module is coming or live. Returns 0 or a negative errno.
  func link(
    _ function: HookFunction, closure: HookClosure?, to point: any AnyHookPoint, priority: Int
  ) -> Int32 {
    linking.withLock { _ in
      // An unload first sets the state to `going`, and then unlinks the hooks under this lock. So
      // either the unload finds this hook, or this thread finds the module going.
      let found = withLinks { links -> (index: Int, isHeldBack: Bool)? in
        if links.state != .coming && links.state != .live { return nil }
        // Before the hook can be called: what it retires must wait for the flavor of this point
        // too.
        links.hooks.append(
          Hook(point: point, function: function, closure: closure, priority: priority))
        return (links.hooks.count - 1, links.predecessor != nil)
      }
      guard let (index, isHeldBack) = found else { return -EBUSY }
      // The takeover links it, under this lock.
      if isHeldBack { return 0 }
      let id = point.link(
        function, closure: closure, gate: gate(for: point), priority: priority, as: nil)
      withLinks { links in
        links.hooks[index].id = id
        links.hooks[index].isLinked = true
      }
      return 0
    }
  }

  /// Creates a counter that the unload waits for. Nil if the unload has begun.
  func makeCount(label: String) -> ModuleCount? {
    let count = ModuleCount(label: label, module: name, tracer: tracer)
    willCount()
    return withLinks { links in
      if links.state != .coming && links.state != .live { return nil }
      links.counts.append(count)
      return count
    }
  }

  /// Calls `function` after a grace period of every flavor that the module's hooks run under, one
  /// after the other: a hook under any of them may still read what was retired.
  fileprivate func retire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) (UnsafeMutableRawPointer?) -> Void
  ) {
    typealias Function = @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
    let function = unsafeBitCast(function, to: Function.self)
    retire(under: flavors[...], argument, function)
  }

  private func retire(
    under flavors: ArraySlice<any Flavor.Type>, _ argument: UnsafeMutableRawPointer?,
    _ function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    guard let flavor = flavors.first else { return }
    let reclaimer = reclaimer(of: flavor)
    if flavors.count == 1 { return reclaimer.unsafeRetire(argument, with: function) }
    nonisolated(unsafe) let argument = argument
    // Unowned: the module is released only after its reclaimers were drained.
    reclaimer.retire { [unowned self] in retire(under: flavors.dropFirst(), argument, function) }
  }
}
