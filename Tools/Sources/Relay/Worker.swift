internal import CRelay
internal import Glibc
internal import ModuleManager
internal import Quiescence

/// One thread of the relay: its listening socket, and the flows that the kernel assigns to that
/// socket. No other worker accesses them.
///
/// The thread is an online QSBR reader. So it is inside one read-side critical section from each
/// quiescent state to the next, and hooks and packets' callbacks run without a section of their
/// own. While the thread waits for events, it is offline.
struct Worker: ~Copyable {
  let handle: WorkerHandle
  let poller: Poller
  var pool: PacketPool
  var flows = FlowTable()
  /// Answers of all flows are sent on the listening socket.
  var answers = Outbox()
  /// Flows with requests to send.
  var touched: [Flow] = []
  /// The packets for the next receive call.
  var batch: [PacketPointer] = []
  /// Packets in outboxes.
  var queued = 0
  /// Flows that are not read while too much is queued.
  var paused: [Flow] = []
  var isListenerPaused = false
  var listenerDrops = 0
  /// The time at the start of the current round.
  var now = relay_clock()
  var nextTick: UInt64 = 0

  static let listenerToken: UInt64 = 0
  static let inboxToken: UInt64 = 1
  /// When this many packets wait to be sent, the worker stops reading until half of them were sent.
  static let mostQueued = 1024

  init(_ handle: WorkerHandle) throws(RelayError) {
    let poller = try Poller()
    try poller.add(handle.listener.descriptor, token: Self.listenerToken, for: "worker")
    try poller.add(relay_inbox_descriptor(handle.inbox), token: Self.inboxToken, for: "worker")
    self.handle = handle
    self.poller = poller
    pool = PacketPool(inbox: handle.inbox)
  }

  deinit {
    for packet in batch { relay_packet_free(packet) }
  }

  mutating func run() {
    QSBR.withOnlineReader { reader in
      while !handle.isStopping { round(&reader) }
      // Still online, because callbacks run here too.
      end()
    }
  }

  private mutating func round(_ reader: inout OnlineReader) {
    fillBatch()
    let patience = patience
    let ready = reader.offline { poller.wait(milliseconds: patience) }
    now = relay_clock()
    for index in 0..<ready {
      let event = poller[index]
      switch event.token {
      case Self.listenerToken: listen(event, reader)
      case Self.inboxToken: openInbox(reader)
      default: if let flow = flows[token: event.token] { answer(event, flow, reader) }
      }
      sendRequests()
      if answers.count >= Int(RELAY_BATCH) { sendAnswers() }
      // Only when no answers wait. Otherwise a grace period could end now, although the callbacks
      // of these answers run two lines below; an unload would find their module busy.
      if answers.count == 0 { reader.quiescentState() }
    }
    sendAnswers()
    if now >= nextTick { tick() }
  }

  /// How long to wait for an event, in milliseconds; -1 if no flow can expire.
  private var patience: Int32 {
    // Without memory for packets nothing can be read. The time limit keeps pending events from
    // making this loop spin.
    if batch.isEmpty { return 10 }
    if flows.count == 0 { return -1 }
    return nextTick <= now ? 0 : Int32((nextTick - now) / 1_000_000 + 1)
  }

  private mutating func fillBatch() {
    while batch.count < Int(RELAY_BATCH), let packet = pool.take() { batch.append(packet) }
  }

  private mutating func listen(_ event: relay_event, _ reader: borrowing OnlineReader) {
    if event.failed { handle.listener.clearError() }
    if event.writable { sendAnswers() }
    if !event.readable { return }
    if queued >= Self.mostQueued { return pauseListener() }
    let count = handle.listener.receive(into: batch)
    if count < 0 { return countError(count) }
    handle.counters.add(count, to: .received)
    for index in 0..<count {
      let packet = batch[index]
      packet.pointee.packet.direction = QUIESCE_TO_SERVER.rawValue
      relay_packet_set_destination(packet, handle.configuration.forward.raw)
      pass(packet, reader)
    }
    replace(count)
    // Only a full batch indicates a queue that may have overflowed.
    if count == Int(RELAY_BATCH) { countListenerDrops() }
  }

  private mutating func answer(
    _ event: relay_event, _ flow: Flow, _ reader: borrowing OnlineReader
  ) {
    if event.writable { send(flow) }
    if event.failed && (flow.isPaused || !event.readable) {
      // There is nothing to read, so the receive call below would not clear the error.
      handle.counters.add(1, to: .errors)
      flow.socket.clearError()
    }
    if !event.readable { return }
    if queued >= Self.mostQueued { return pause(flow) }
    let count = flow.socket.receive(into: batch)
    if count < 0 { return countError(count) }
    handle.counters.add(count, to: .received)
    for index in 0..<count {
      let packet = batch[index]
      packet.pointee.packet.direction = QUIESCE_TO_CLIENT.rawValue
      relay_packet_set_destination(packet, flow.client.raw)
      packet.pointee.local = flow.local
      pass(packet, reader)
    }
    replace(count)
    flows.use(flow, at: now)
    if count == Int(RELAY_BATCH) { countDrops(of: flow) }
  }

  /// Continues with stolen packets that modules have returned.
  private mutating func openInbox(_ reader: borrowing OnlineReader) {
    var packet = reversed(relay_inbox_take(handle.inbox))
    while let current = packet {
      packet = current.pointee.next
      relay_inbox_release(handle.inbox)
      if current.pointee.discarded { drop(current) } else { pass(current, reader) }
    }
  }

  /// Replaces the packets that were passed on.
  private mutating func replace(_ count: Int) {
    for index in stride(from: count - 1, through: 0, by: -1) {
      if let packet = pool.take() { batch[index] = packet } else { batch.remove(at: index) }
    }
  }

  private func countError(_ result: Int) {
    if result != -Int(EAGAIN) { handle.counters.add(1, to: .errors) }
  }

  private mutating func end() {
    var packet = relay_inbox_close(handle.inbox)
    while let current = packet {
      packet = current.pointee.next
      relay_inbox_release(handle.inbox)
      drop(current)
    }
    answers.drop(pool: &pool, counters: handle.counters)
    countListenerDrops()
    while let flow = flows.oldest { remove(flow) }
  }

  /// The inbox is a stack; packets continue in the order in which they were returned.
  private func reversed(_ newest: PacketPointer?) -> PacketPointer? {
    var oldest: PacketPointer?
    var packet = newest
    while let current = packet {
      packet = current.pointee.next
      current.pointee.next = oldest
      oldest = current
    }
    return oldest
  }
}
