import CPeers
import Quiescence
import Synchronization

/// One flavor in one language, with the loops of liburcu's test programs.
struct TortureSide: Sendable {
  typealias Loop = @Sendable (TortureRun) -> UInt64

  let name: String
  let makeRun: @Sendable () -> TortureRun
  let testRead: Loop
  let testWrite: Loop
  let perfRead: Loop
  let perfUpdate: Loop

  static let pairs: [(c: TortureSide, swift: TortureSide)] = [
    (c("memb, C", PEER_MEMB), swift("Memb", flavor: Memb.self)),
    (c("qsbr, C", PEER_QSBR), online()),
    (c("mb, C", PEER_MB), swift("MB", flavor: MB.self)),
    (c("bp, C", PEER_BP), swift("Bulletproof", flavor: Bulletproof.self)),
  ]
}

/// The state that the loops of one run share.
struct TortureRun: @unchecked Sendable {
  // Unchecked for the pointer: the C side is made for several threads.
  fileprivate let c: OpaquePointer?
  fileprivate let swift: AnySendableObject?
  let stop: @Sendable () -> Void
  let free: @Sendable () -> Void

  fileprivate typealias AnySendableObject = AnyObject & Sendable
}

extension TortureSide {
  private static func c(_ name: String, _ flavor: peer_flavor) -> TortureSide {
    TortureSide(
      name: name,
      makeRun: {
        nonisolated(unsafe) let run = peer_run_make()
        return TortureRun(c: run, swift: nil, stop: { peer_run_stop(run) }, free: { peer_run_free(run) })
      },
      testRead: { peer_test_read($0.c, flavor) }, testWrite: { peer_test_write($0.c, flavor) },
      perfRead: { peer_perf_read($0.c, flavor) }, perfUpdate: { peer_perf_update($0.c, flavor) })
  }

  /// The published number, and whether the loops must go on.
  private final class Shared<F: Flavor>: Sendable {
    let box: RCUBox<Int32, F>
    private let isOver = Atomic(false)

    init(_ flavor: F.Type) {
      box = RCUBox(8, flavor: flavor)
    }

    @inline(__always)
    var goesOn: Bool { !isOver.load(ordering: .acquiring) }

    func stop() { isOver.store(true, ordering: .releasing) }

    static func of(_ run: TortureRun) -> Shared {
      // Not nil: made by `makeRun` of the same side.
      unsafeDowncast(run.swift!, to: Shared.self)
    }
  }

  private static func makeRun<F: Flavor>(_ flavor: F.Type) -> TortureRun {
    let shared = Shared(flavor)
    return TortureRun(c: nil, swift: shared, stop: { shared.stop() }, free: {})
  }

  @inline(__always)
  private static func swift<F: Flavor>(_ name: String, flavor: F.Type) -> TortureSide {
    TortureSide(
      name: "\(name), Swift", makeRun: { makeRun(flavor) },
      testRead: { run in
        let shared = Shared<F>.of(run)
        var count: UInt64 = 0
        var isWrong = false
        repeat {
          isWrong = shared.box.read { $0 != 8 } || isWrong
          count &+= 1
        } while shared.goesOn
        return isWrong ? 0 : count
      },
      testWrite: { write(Shared<F>.of($0)) },
      perfRead: { run in
        let shared = Shared<F>.of(run)
        var count: UInt64 = 0
        repeat {
          for _ in 0..<1000 { F.read { _ in count &+= peer_opaque(1) } }
        } while shared.goesOn
        return count
      },
      perfUpdate: { update(Shared<F>.of($0)) })
  }

  /// Like `swift`, with a quiescent state where liburcu's programs have one.
  private static func online() -> TortureSide {
    TortureSide(
      name: "QSBR, Swift", makeRun: { makeRun(QSBR.self) },
      testRead: { run in
        let shared = Shared<QSBR>.of(run)
        return QSBR.withOnlineReader { reader in
          var count: UInt64 = 0
          var isWrong = false
          repeat {
            isWrong = shared.box.load(reader).value != 8 || isWrong
            count &+= 1
            if count & 1023 == 0 { reader.quiescentState() }
          } while shared.goesOn
          return isWrong ? 0 : count
        }
      },
      testWrite: { write(Shared<QSBR>.of($0)) },
      perfRead: { run in
        let shared = Shared<QSBR>.of(run)
        return QSBR.withOnlineReader { reader in
          var count: UInt64 = 0
          repeat {
            for _ in 0..<1000 { count &+= peer_opaque(1) }
            reader.quiescentState()
          } while shared.goesOn
          return count
        }
      },
      perfUpdate: { update(Shared<QSBR>.of($0)) })
  }

  private static func write<F: Flavor>(_ shared: Shared<F>) -> UInt64 {
    var count: UInt64 = 0
    repeat {
      // Waits for a grace period, and returns the old value.
      _ = shared.box.exchange(8).take()
      count &+= 1
    } while shared.goesOn
    return count
  }

  private static func update<F: Flavor>(_ shared: Shared<F>) -> UInt64 {
    var count: UInt64 = 0
    repeat {
      F.synchronize()
      count &+= 1
    } while shared.goesOn
    return count
  }
}
