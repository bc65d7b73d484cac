import CPeers
import Quiescence
import QuiescentCollections
import Synchronization

extension SharedCollection {
  static let fastTable = "RCUDictionary of FastHashed"
  static let fastDictionary = "Dictionary of FastHashed, unsynchronized"
  static let lockedDictionary = "Mutex<Dictionary>"

  /// Tables of integer keys.
  static func tables(promisedOnly: Bool) -> [SharedCollection] {
    let promised =
      peers(peer_table_lfht) + [
        rcu(fastTable, FastKeys()), unsynchronized(fastDictionary, FastKeys()),
        rcu("RCUDictionary", NumberKeys()), unsynchronized("Dictionary, unsynchronized", NumberKeys()),
        locked(lockedDictionary, NumberKeys()),
      ]
    if promisedOnly { return promised }
    return promised + [boxed("RCUBox<Dictionary>", NumberKeys())]
      + peers(peer_table_ck, peer_table_shared_mutex)
  }

  /// Tables of string keys, which are made before the clock starts.
  static func stringTables(_ entries: UInt64, promisedOnly: Bool) -> [SharedCollection] {
    let keys = NameKeys(2 * entries)
    let promised = [
      rcu("RCUDictionary of String", keys), unsynchronized("Dictionary of String, unsynchronized", keys),
    ]
    return promisedOnly ? promised : promised + [locked("Mutex<Dictionary> of String", keys)]
  }

  private static func rcu<Keys: KeySource>(_ name: String, _ keys: Keys) -> SharedCollection {
    SharedCollection(
      name,
      make: { entries in
        let table = RCUDictionary<Keys.Key, UInt64, Memb>(minimumCapacity: Int(entries))
        for index in 0..<entries { table[keys[index]] = index + 1 }
        return SharedValue(table)
      },
      run: { (table: SharedValue<RCUDictionary<Keys.Key, UInt64, Memb>>, operations) in
        operations.sum {
          table.value.read(keys[$0]) { $0 } ?? 0
        } write: {
          _ = table.value.updateValue($0 + 1, forKey: keys[$0])
        }
      })
  }

  private static func unsynchronized<Keys: KeySource>(_ name: String, _ keys: Keys) -> SharedCollection {
    SharedCollection(
      name, canChange: false,
      make: { SharedValue(dictionary($0, keys)) },
      run: { (table: SharedValue<[Keys.Key: UInt64]>, operations) in
        operations.sum {
          table.value[keys[$0]] ?? 0
        } write: { _ in
        }
      })
  }

  private static func locked<Keys: KeySource>(_ name: String, _ keys: Keys) -> SharedCollection {
    SharedCollection(
      name,
      make: { SharedValue(Mutex(dictionary($0, keys))) },
      run: { (table: SharedValue<Mutex<[Keys.Key: UInt64]>>, operations) in
        operations.sum { index in
          table.value.withLock { $0[keys[index]] ?? 0 }
        } write: { index in
          table.value.withLock { $0[keys[index]] = index + 1 }
        }
      })
  }

  private static func boxed<Keys: KeySource>(_ name: String, _ keys: Keys) -> SharedCollection {
    SharedCollection(
      name, isCopied: true,
      make: { SharedValue(RCUBox(dictionary($0, keys))) },
      run: { (table: SharedValue<RCUBox<[Keys.Key: UInt64], Memb>>, operations) in
        operations.sum { index in
          table.value.read { $0[keys[index]] ?? 0 }
        } write: { index in
          table.value.update { $0[keys[index]] = index + 1 }
        }
      })
  }

  private static func dictionary<Keys: KeySource>(_ entries: UInt64, _ keys: Keys) -> [Keys.Key: UInt64] {
    Dictionary(uniqueKeysWithValues: (0..<entries).map { (keys[$0], $0 + 1) })
  }
}

/// The keys of a table, by number. The loops are specialized for each kind.
private protocol KeySource: Sendable {
  associatedtype Key: Hashable & Sendable
  subscript(index: UInt64) -> Key { get }
}

private struct NumberKeys: KeySource {
  subscript(index: UInt64) -> UInt64 { peer_key(index) }
}

private struct FastKeys: KeySource {
  subscript(index: UInt64) -> FastHashed<UInt64> { FastHashed(peer_key(index)) }
}

/// Strings of at most 15 bytes: they are in place, and threads count no references to them.
private struct NameKeys: KeySource {
  private let names: [String]

  init(_ count: UInt64) { names = (0..<count).map { "name-\($0)" } }

  subscript(index: UInt64) -> String { names[Int(index)] }
}
