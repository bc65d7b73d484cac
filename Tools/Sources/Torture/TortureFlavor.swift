import Quiescence

/// A flavor that can be tortured: how its readers go about it, and its broken twins.
protocol TortureFlavor: Flavor {
  /// One round of a reader: sections, and pauses outside of them.
  static func round(of reader: some RoundReader)

  /// Runs what is retired under `NoGracePeriod` of it.
  static var hastyReclaimer: RCUReclaimer { get }
  /// Runs what is retired under `LostWakeup` of it.
  static var sleepyReclaimer: RCUReclaimer { get }
}

/// What a round consists of.
protocol RoundReader {
  /// Enters, reads, leaves.
  func section()
  /// Outside of every section, for as long as it likes.
  func pause()
  /// A choice.
  func below(_ bound: Int) -> Int
}

extension TortureFlavor {
  static func round(of reader: some RoundReader) {
    for _ in 0...reader.below(16) { reader.section() }
    reader.pause()
  }
}

extension Memb: TortureFlavor {
  static let hastyReclaimer = RCUReclaimer(named: "hasty-memb", defaultOf: NoGracePeriod<Memb>.self)
  static let sleepyReclaimer = RCUReclaimer(named: "sleepy-memb", defaultOf: LostWakeup<Memb>.self)
}

extension MB: TortureFlavor {
  static let hastyReclaimer = RCUReclaimer(named: "hasty-mb", defaultOf: NoGracePeriod<MB>.self)
  static let sleepyReclaimer = RCUReclaimer(named: "sleepy-mb", defaultOf: LostWakeup<MB>.self)
}

extension Bulletproof: TortureFlavor {
  static let hastyReclaimer = RCUReclaimer(named: "hasty-bp", defaultOf: NoGracePeriod<Bulletproof>.self)
  static let sleepyReclaimer = RCUReclaimer(named: "sleepy-bp", defaultOf: LostWakeup<Bulletproof>.self)
}

extension QSBR: TortureFlavor {
  static let hastyReclaimer = RCUReclaimer(named: "hasty-qsbr", defaultOf: NoGracePeriod<QSBR>.self)
  static let sleepyReclaimer = RCUReclaimer(named: "sleepy-qsbr", defaultOf: LostWakeup<QSBR>.self)

  /// Online for a while, with quiescent states in between, and offline for whatever takes long.
  static func round(of reader: some RoundReader) {
    withOnlineReader { online in
      for _ in 0...reader.below(16) {
        reader.section()
        switch reader.below(512) {
        case 0: online.synchronize()
        case 1..<16: online.offline { reader.pause() }
        // No quiescent state: the next section belongs to the same long one.
        case 16..<128: break
        default: online.quiescentState()
        }
      }
    }
    reader.pause()
  }
}
