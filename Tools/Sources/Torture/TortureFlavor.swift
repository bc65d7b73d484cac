import Quiescence

/// A flavor that can be tortured: how its readers read, and the reclaimers of its broken variants.
protocol TortureFlavor: Flavor {
  /// One round of a reader: sections, and pauses outside of them.
  static func round(of reader: some RoundReader)

  /// Runs what is retired under `NoGracePeriod` of this flavor.
  static var noGracePeriodReclaimer: RCUReclaimer { get }
  /// Runs what is retired under `LostWakeup` of this flavor.
  static var lostWakeupReclaimer: RCUReclaimer { get }
}

/// The parts of a round.
protocol RoundReader {
  /// Enters a section, reads, and leaves.
  func section()
  /// Pauses outside of every section, for any time.
  func pause()
  /// A random number below `bound`.
  func below(_ bound: Int) -> Int
}

extension TortureFlavor {
  static func round(of reader: some RoundReader) {
    for _ in 0...reader.below(16) { reader.section() }
    reader.pause()
  }
}

extension Memb: TortureFlavor {
  static let noGracePeriodReclaimer = RCUReclaimer(named: "no-gp-memb", defaultOf: NoGracePeriod<Memb>.self)
  static let lostWakeupReclaimer = RCUReclaimer(named: "lost-memb", defaultOf: LostWakeup<Memb>.self)
}

extension MB: TortureFlavor {
  static let noGracePeriodReclaimer = RCUReclaimer(named: "no-gp-mb", defaultOf: NoGracePeriod<MB>.self)
  static let lostWakeupReclaimer = RCUReclaimer(named: "lost-mb", defaultOf: LostWakeup<MB>.self)
}

extension Bulletproof: TortureFlavor {
  static let noGracePeriodReclaimer = RCUReclaimer(
    named: "no-gp-bp", defaultOf: NoGracePeriod<Bulletproof>.self)
  static let lostWakeupReclaimer = RCUReclaimer(named: "lost-bp", defaultOf: LostWakeup<Bulletproof>.self)
}

extension QSBR: TortureFlavor {
  static let noGracePeriodReclaimer = RCUReclaimer(named: "no-gp-qsbr", defaultOf: NoGracePeriod<QSBR>.self)
  static let lostWakeupReclaimer = RCUReclaimer(named: "lost-qsbr", defaultOf: LostWakeup<QSBR>.self)

  /// Online for a while, with quiescent states in between, and offline during long pauses.
  static func round(of reader: some RoundReader) {
    withOnlineReader { online in
      for _ in 0...reader.below(16) {
        reader.section()
        switch reader.below(512) {
        case 0: online.synchronize()
        case 1..<16: online.offline { reader.pause() }
        // No quiescent state: the next read belongs to the same read-side critical section.
        case 16..<128: break
        default: online.quiescentState()
        }
      }
    }
    reader.pause()
  }
}
