import Quiescence

/// A flavor that can be tortured: how its readers read, and the reclaimers of its broken variants.
protocol TortureFlavor: Flavor {
  /// One round of a reader: sections, and pauses outside of them.
  static func round(of reader: some RoundReader)

  /// The domain of `NoGracePeriod` of this flavor.
  static var noGracePeriodDomain: FlavorDomain { get }
  /// The domain of `LostWakeup` of this flavor.
  static var lostWakeupDomain: FlavorDomain { get }
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
  static let noGracePeriodDomain = FlavorDomain(of: NoGracePeriod<Memb>.self, named: "no-gp-memb")
  static let lostWakeupDomain = FlavorDomain(of: LostWakeup<Memb>.self, named: "lost-memb")
}

extension MB: TortureFlavor {
  static let noGracePeriodDomain = FlavorDomain(of: NoGracePeriod<MB>.self, named: "no-gp-mb")
  static let lostWakeupDomain = FlavorDomain(of: LostWakeup<MB>.self, named: "lost-mb")
}

extension Bulletproof: TortureFlavor {
  static let noGracePeriodDomain = FlavorDomain(of: NoGracePeriod<Bulletproof>.self, named: "no-gp-bp")
  static let lostWakeupDomain = FlavorDomain(of: LostWakeup<Bulletproof>.self, named: "lost-bp")
}

extension QSBR: TortureFlavor {
  static let noGracePeriodDomain = FlavorDomain(of: NoGracePeriod<QSBR>.self, named: "no-gp-qsbr")
  static let lostWakeupDomain = FlavorDomain(of: LostWakeup<QSBR>.self, named: "lost-qsbr")

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
