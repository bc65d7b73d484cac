internal import CRelay
internal import Glibc
internal import ModuleManager
internal import Quiescence

extension Worker {
  /// Passes a packet through the hook points that it has not entered yet, and then routes it.
  mutating func pass(_ packet: PacketPointer, _ reader: borrowing OnlineReader) {
    if packet.pointee.truncated { return refuse(packet) }
    let points = handle.configuration.points
    while Int(packet.pointee.stage) < points.count {
      let point = points[Int(packet.pointee.stage)]
      // Before the hooks: if one of them steals the packet, it continues here after its return.
      packet.pointee.stage += 1
      let result = point.dispatch(&packet.pointee.packet, in: reader)
      if result.called > 0 { handle.counters.add(result.called, to: .moduleCalls) }
      if result.verdict == .accept { continue }
      if result.verdict == .stolen { return leave() }
      return drop(packet)
    }
    route(packet)
  }

  /// A hook stole the packet, and another thread may have returned it already. So the packet must
  /// not be accessed here.
  private func leave() {
    handle.counters.add(1, to: .stolen)
    relay_inbox_retain(handle.inbox)
  }

  mutating func drop(_ packet: PacketPointer) {
    handle.counters.add(1, to: .dropped)
    pool.finish(packet)
  }

  private mutating func refuse(_ packet: PacketPointer) {
    handle.counters.add(1, to: .errors)
    drop(packet)
  }

  private mutating func route(_ packet: PacketPointer) {
    if packet.pointee.packet.length > packet.pointee.packet.capacity { return refuse(packet) }
    if packet.pointee.packet.direction == QUIESCE_TO_CLIENT.rawValue {
      answers.append(packet)
    } else {
      var client = relay_address()
      guard relay_packet_source(packet, &client), let flow = flow(for: SocketAddress(client)) else {
        return refuse(packet)
      }
      if packet.pointee.local.length > 0 { flow.local = packet.pointee.local }
      flow.outbox.append(packet)
      flows.use(flow, at: now)
      if !flow.isTouched {
        flow.isTouched = true
        touched.append(flow)
      }
    }
    queued += 1
  }

  /// Sends the packets that wait on the flows' sockets.
  mutating func sendRequests() {
    if touched.isEmpty { return }
    for flow in touched {
      flow.isTouched = false
      if !flow.outbox.isBlocked { send(flow) }
    }
    touched.removeAll(keepingCapacity: true)
  }

  mutating func send(_ flow: Flow) {
    let (before, wasBlocked) = (flow.outbox.count, flow.outbox.isBlocked)
    flow.outbox.flush(
      to: flow.socket, addressed: false, pool: &pool, counters: handle.counters)
    queued -= before - flow.outbox.count
    if flow.outbox.isBlocked != wasBlocked { watch(flow) }
    resumeReading()
  }

  mutating func sendAnswers() {
    if answers.count == 0 { return }
    let (before, wasBlocked) = (answers.count, answers.isBlocked)
    answers.flush(to: handle.listener, addressed: true, pool: &pool, counters: handle.counters)
    queued -= before - answers.count
    if answers.isBlocked != wasBlocked { watchListener() }
    resumeReading()
  }

  /// Too many packets wait to be sent: new datagrams stay in the kernel's buffer.
  mutating func pauseListener() {
    isListenerPaused = true
    watchListener()
  }

  mutating func pause(_ flow: Flow) {
    flow.isPaused = true
    paused.append(flow)
    watch(flow)
  }

  private mutating func resumeReading() {
    if queued > Self.mostQueued / 2 { return }
    if isListenerPaused {
      isListenerPaused = false
      watchListener()
    }
    if paused.isEmpty { return }
    for flow in paused where flow.isPaused {
      flow.isPaused = false
      watch(flow)
    }
    paused.removeAll()
  }

  private func watch(_ flow: Flow) {
    let error = poller.watch(
      flow.socket.descriptor, token: flow.token, readable: !flow.isPaused,
      writable: flow.outbox.isBlocked)
    // A blocked socket would wait for ever, so count the error.
    if error != 0 { handle.counters.add(1, to: .errors) }
  }

  private func watchListener() {
    let error = poller.watch(
      handle.listener.descriptor, token: Self.listenerToken, readable: !isListenerPaused,
      writable: answers.isBlocked)
    if error != 0 { handle.counters.add(1, to: .errors) }
  }
}
