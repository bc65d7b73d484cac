internal import CRelay
internal import Glibc

extension Worker {
  /// The client's flow, opened if necessary. Nil if the system grants no socket.
  mutating func flow(for client: SocketAddress) -> Flow? {
    if let flow = flows[client] { return flow }
    if flows.count >= handle.configuration.flowLimit {
      handle.counters.add(1, to: .errors)
      if !evict() { return nil }
    }
    if let flow = open(client) { return flow }
    // Probably out of descriptors: close the flow that was idle for the longest time.
    return evict() ? open(client) : nil
  }

  private mutating func open(_ client: SocketAddress) -> Flow? {
    let forward = handle.configuration.forward
    do throws(RelayError) {
      let socket = try Socket(like: forward)
      try socket.connect(to: forward)
      let token = flows.nextToken()
      let error = poller.add(socket.descriptor, token: token)
      if error != 0 { throw RelayError("\(forward)", -error, "cannot wait for answers") }
      let flow = Flow(client: client, socket: socket, token: token)
      flow.lastUse = now
      if flows.count == 0 { nextTick = now + tickLength }
      flows.insert(flow)
      handle.counters.add(1, to: .flows)
      return flow
    } catch {
      handle.counters.add(1, to: .errors)
      return nil
    }
  }

  /// Closes the least recently used flow among those with nothing to send.
  private mutating func evict() -> Bool {
    var flow = flows.oldest
    while let candidate = flow {
      if candidate.outbox.count == 0 {
        remove(candidate)
        return true
      }
      flow = flows.newer(than: candidate)
    }
    return false
  }

  mutating func remove(_ flow: Flow) {
    countDrops(of: flow)
    queued -= flow.outbox.count
    flow.outbox.drop(pool: &pool, counters: handle.counters)
    // The flow may be in the list of paused flows.
    flow.isPaused = false
    flows.remove(flow)
    handle.counters.add(-1, to: .flows)
  }

  /// The interval between checks for expired flows, in nanoseconds.
  private var tickLength: UInt64 {
    min(max(handle.configuration.flowTimeout / 4, 1_000_000), 1_000_000_000)
  }

  mutating func tick() {
    while let flow = flows.oldest, flow.outbox.count == 0,
      now - flow.lastUse >= handle.configuration.flowTimeout
    {
      remove(flow)
    }
    countListenerDrops()
    var flow = flows.newest
    while let recent = flow, now - recent.lastUse <= 2 * tickLength {
      countDrops(of: recent)
      flow = flows.older(than: recent)
    }
    nextTick = now + tickLength
  }

  func countDrops(of flow: Flow) {
    let drops = flow.socket.kernelDrops
    handle.counters.add(drops - flow.kernelDrops, to: .kernelDrops)
    flow.kernelDrops = drops
  }

  mutating func countListenerDrops() {
    let drops = handle.listener.kernelDrops
    handle.counters.add(drops - listenerDrops, to: .kernelDrops)
    listenerDrops = drops
  }
}
