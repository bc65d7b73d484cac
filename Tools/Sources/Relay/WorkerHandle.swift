internal import CRelay
internal import Glibc
internal import ModuleManager
internal import Quiescence
internal import Synchronization

/// The state that a relay and one of its workers share.
final class WorkerHandle: Sendable {
  let listener: Socket
  let counters = Counters()
  let configuration: WorkerConfiguration
  nonisolated(unsafe) let inbox: OpaquePointer
  private let stopping = Atomic(false)

  init(listener: consuming Socket, configuration: WorkerConfiguration) throws(RelayError) {
    guard let inbox = relay_inbox_create(finishOrphan) else {
      throw RelayError("worker", Glibc.errno, "no event descriptor")
    }
    self.inbox = inbox
    self.listener = listener
    self.configuration = configuration
  }

  deinit { relay_inbox_release(inbox) }

  var isStopping: Bool { stopping.load(ordering: .relaxed) }

  func stop() {
    // Writing the eventfd orders this store before the worker's next test.
    stopping.store(true, ordering: .relaxed)
    relay_inbox_wake(inbox)
  }
}

/// The configuration of every worker of a relay.
struct WorkerConfiguration: Sendable {
  let forward: SocketAddress
  let points: [HookPoint<quiesce_packet, QSBR>]
  /// In nanoseconds.
  let flowTimeout: UInt64
  /// The largest number of flows of one worker.
  let flowLimit: Int
}

/// Ends a stolen packet that was returned after its worker had ended, on the thread that returned
/// it.
private func finishOrphan(_ packet: PacketPointer?) {
  // Not nil: the inbox passes the packet that was returned.
  let packet = packet!
  // The callbacks are a module's code. Only a section keeps the code mapped.
  if QSBR.isInside {
    relay_packet_finish(packet)
  } else {
    QSBR.withOnlineReader { _ in relay_packet_finish(packet) }
  }
  let inbox = packet.pointee.inbox
  relay_packet_free(packet)
  relay_inbox_release(inbox)
}
