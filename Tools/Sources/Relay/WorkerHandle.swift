internal import CRelay
internal import Glibc
internal import ModuleManager
internal import Quiescence
internal import Synchronization

/// What a relay and one of its workers share.
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
    // The eventfd orders the store before the worker's next look.
    stopping.store(true, ordering: .relaxed)
    relay_inbox_wake(inbox)
  }
}

/// What every worker of a relay is told.
struct WorkerConfiguration: Sendable {
  let forward: SocketAddress
  let points: [HookPoint<quiesce_packet, QSBR>]
  /// In nanoseconds.
  let flowTimeout: UInt64
  /// The most flows that one worker keeps.
  let flowLimit: Int
}

/// Ends a stolen packet that came back after its worker had gone, on the thread that gives it back.
private func finishOrphan(_ packet: PacketPointer?) {
  // The inbox passes what was given back.
  let packet = packet!
  // A callback is a module's code, which is unmapped after a grace period: only a section keeps it.
  if QSBR.isInside {
    relay_packet_finish(packet)
  } else {
    QSBR.withOnlineReader { _ in relay_packet_finish(packet) }
  }
  let inbox = packet.pointee.inbox
  relay_packet_free(packet)
  relay_inbox_release(inbox)
}
