internal import CModuleABI
internal import Glibc

/// The services that the host offers to C modules: `struct quiescent_services`, filled in once.
enum ServiceTable {
  /// Never changed after this, and never deallocated: modules keep the pointer.
  nonisolated(unsafe) static let pointer = UnsafePointer<quiescent_services>(make())

  private typealias Function = @convention(c) (UnsafeMutableRawPointer?) -> Void

  private static func make() -> UnsafeMutablePointer<quiescent_services> {
    let table = UnsafeMutablePointer<quiescent_services>.allocate(capacity: 1)
    table.initialize(to: quiescent_services())
    table.pointee.size = UInt32(MemoryLayout<quiescent_services>.size)
    fillWorkers(table)
    fillCalls(table)
    fillStorage(table)
    return table
  }

  private static func fillWorkers(_ table: UnsafeMutablePointer<quiescent_services>) {
    table.pointee.start_worker = { this, name, function, argument in
      guard let function else { return -EINVAL }
      let job = ServiceTable.job(function, argument)
      return Module.from(this)._withUnsafeGuaranteedRef { module in
        module.services.startWorker(named: name.map { String(cString: $0) } ?? module.name, job)
      }
    }
    table.pointee.stop_requested = { this, wait in
      let limit = wait == UInt64.max ? nil : Duration.nanoseconds(Int64(clamping: wait))
      return Module.from(this)._withUnsafeGuaranteedRef {
        $0.services.waitForStopRequest(for: limit) ? 1 : 0
      }
    }
  }

  private static func fillCalls(_ table: UnsafeMutablePointer<quiescent_services>) {
    table.pointee.defer = { this, delay, function, argument in
      guard let function else { return -EINVAL }
      let job = ServiceTable.job(function, argument)
      return Module.from(this)._withUnsafeGuaranteedRef { $0.services.defer(delay, job) }
    }
    table.pointee.start_timer = { this, period, function, argument in
      guard let function else { return Int64(-EINVAL) }
      let job = ServiceTable.job(function, argument)
      return Module.from(this)._withUnsafeGuaranteedRef { $0.services.startTimer(period, job) }
    }
    table.pointee.stop_timer = { this, timer in
      Module.from(this)._withUnsafeGuaranteedRef { $0.services.stopTimer(timer) ? 0 : -ENOENT }
    }
  }

  private static func fillStorage(_ table: UnsafeMutablePointer<quiescent_services>) {
    table.pointee.create_thread_storage = { this, size in
      Module.from(this)._withUnsafeGuaranteedRef {
        $0.services.makeThreadStorage(blockSize: Int(clamping: size))?.opaque
      }
    }
    table.pointee.thread_block = { storage in
      ThreadStorage.from(storage)._withUnsafeGuaranteedRef { $0.block }
    }
    table.pointee.visit_blocks = { storage, visit, context in
      guard let visit else { return }
      ThreadStorage.from(storage)._withUnsafeGuaranteedRef { storage in
        for block in storage.blocks { visit(block, context) }
      }
    }
  }

  private static func job(_ function: @escaping Function, _ argument: UnsafeMutableRawPointer?)
    -> ModuleQueue.Job
  {
    typealias Sent = @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
    let function = unsafeBitCast(function, to: Sent.self)
    nonisolated(unsafe) let argument = argument
    return { function(argument) }
  }
}
