/// A worker's flows: by client, by event token, and in the order of last use.
struct FlowTable: ~Copyable {
  private var places: [Flow?] = []
  private var free: [Int] = []
  private var byClient: [SocketAddress: Int] = [:]
  private var generation: UInt64 = 0
  private var oldestPlace = -1
  private var newestPlace = -1

  /// Smaller tokens are the worker's own.
  static let firstToken: UInt64 = 1 << 32

  var count: Int { byClient.count }
  var oldest: Flow? { oldestPlace < 0 ? nil : places[oldestPlace] }
  var newest: Flow? { newestPlace < 0 ? nil : places[newestPlace] }

  subscript(client: SocketAddress) -> Flow? {
    guard let place = byClient[client] else { return nil }
    return places[place]
  }

  /// The flow of an event. Nil if it was closed since.
  subscript(token token: UInt64) -> Flow? {
    let place = Int(truncatingIfNeeded: token & 0xffff_ffff)
    guard place < places.count, let flow = places[place], flow.token == token else { return nil }
    return flow
  }

  func newer(than flow: Flow) -> Flow? { flow.newer < 0 ? nil : places[flow.newer] }
  func older(than flow: Flow) -> Flow? { flow.older < 0 ? nil : places[flow.older] }

  /// The token for the next `insert`.
  func nextToken() -> UInt64 {
    Self.firstToken * (generation + 1) | UInt64(free.last ?? places.count)
  }

  /// Adds a flow that was created with `nextToken()`, as the newest.
  mutating func insert(_ flow: Flow) {
    generation = (generation + 1) & 0x7fff_ffff
    let place: Int
    if let reused = free.popLast() {
      place = reused
      places[place] = flow
    } else {
      place = places.count
      places.append(flow)
    }
    byClient[flow.client] = place
    link(flow, at: place)
  }

  mutating func remove(_ flow: Flow) {
    let place = Self.place(of: flow)
    unlink(flow)
    byClient[flow.client] = nil
    places[place] = nil
    free.append(place)
  }

  /// Makes `flow` the newest.
  mutating func use(_ flow: Flow, at now: UInt64) {
    flow.lastUse = now
    let place = Self.place(of: flow)
    if place == newestPlace { return }
    unlink(flow)
    link(flow, at: place)
  }

  private static func place(of flow: Flow) -> Int {
    Int(truncatingIfNeeded: flow.token & 0xffff_ffff)
  }

  private mutating func link(_ flow: Flow, at place: Int) {
    flow.older = newestPlace
    flow.newer = -1
    if newestPlace >= 0 { places[newestPlace]?.newer = place } else { oldestPlace = place }
    newestPlace = place
  }

  private mutating func unlink(_ flow: Flow) {
    if flow.older >= 0 { places[flow.older]?.newer = flow.newer } else { oldestPlace = flow.newer }
    if flow.newer >= 0 { places[flow.newer]?.older = flow.older } else { newestPlace = flow.older }
  }
}
