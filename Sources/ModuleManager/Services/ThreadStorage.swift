internal import Glibc
internal import Quiescence

/// A block of memory of a module for each thread that asks for one.
///
/// The block of a thread that has ended waits, with what is in it, for the next thread that asks.
/// So no code of the module runs at the end of a thread, and threads that start and end take no
/// more memory than those that live at the same time.
///
/// A thread finds its block in a table of its own, at the storage's index, without a lock. Indices
/// are used again; the number beside the block tells a storage from an earlier one of that index.
final class ThreadStorage: Sendable {
  private static let alignment = 64

  private struct State {
    var blocks: [UnsafeMutableRawPointer] = []
    /// Those of threads that have ended.
    var free: [UnsafeMutableRawPointer] = []
  }

  private let blockSize: Int
  private let key: Key
  private let state = Locked(State())

  /// Where a thread's table has the block of a storage.
  fileprivate struct Key {
    let index: Int
    /// Of no other storage; not 0.
    let number: UInt64
  }

  /// Nil if the size is 0, or larger than memory.
  init?(blockSize: Int) {
    let (rounded, overflow) = blockSize.addingReportingOverflow(Self.alignment - 1)
    if blockSize <= 0 || overflow { return nil }
    self.blockSize = rounded & ~(Self.alignment - 1)
    key = Directory.shared.withLock { $0.makeKey() }
    Directory.shared.withLock { $0.storages[key.number] = self }
  }

  deinit { state.withLock { for block in $0.blocks { free(block) } } }

  /// Threads that end give nothing back any more. The last owner's release frees the blocks.
  func forget() { Directory.shared.withLock { $0.remove(key) } }

  /// The calling thread's block; nil if there is no memory.
  var block: UnsafeMutableRawPointer? {
    if let block = ThreadTable.current?.block(key) { return block }
    return takeBlock()
  }

  /// A block for the calling thread, which has none.
  private func takeBlock() -> UnsafeMutableRawPointer? {
    guard let table = ThreadTable.makeCurrent(holding: key.index) else { return nil }
    let block = state.withLock { state -> UnsafeMutableRawPointer? in
      if let block = state.free.popLast() { return block }
      guard let block = aligned_alloc(Self.alignment, blockSize) else { return nil }
      memset(block, 0, blockSize)
      state.blocks.append(block)
      return block
    }
    if let block { table.set(block, key) }
    return block
  }

  /// By a thread that ends.
  fileprivate func giveBack(_ block: UnsafeMutableRawPointer) { state.withLock { $0.free.append(block) } }

  /// All blocks that there are now. They are freed with the storage.
  var blocks: [UnsafeMutableRawPointer] { state.withLock { $0.blocks } }

  var opaque: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ opaque: OpaquePointer?) -> Unmanaged<ThreadStorage> {
    // By the contract of the header, a pointer that `create_thread_storage` gave.
    Unmanaged<ThreadStorage>.fromOpaque(UnsafeRawPointer(opaque!))
  }
}

// MARK: - The process's storages

extension ThreadStorage {
  /// All storages of the process, for threads that end.
  private struct Directory {
    static let shared = Locked(Directory())

    var storages: [UInt64: ThreadStorage] = [:]
    private var lastNumber: UInt64 = 0
    private var indexCount = 0
    private var freeIndices: [Int] = []

    mutating func makeKey() -> Key {
      lastNumber += 1
      if let index = freeIndices.popLast() { return Key(index: index, number: lastNumber) }
      indexCount += 1
      return Key(index: indexCount - 1, number: lastNumber)
    }

    mutating func remove(_ key: Key) {
      if storages.removeValue(forKey: key.number) != nil { freeIndices.append(key.index) }
    }
  }

  /// The calling thread ends: its blocks are free.
  fileprivate static func giveBack(_ blocks: [(number: UInt64, block: UnsafeMutableRawPointer)]) {
    Directory.shared.withLock { directory in
      // Under the lock: a storage that is forgotten meanwhile frees its blocks afterwards.
      for (number, block) in blocks { directory.storages[number]?.giveBack(block) }
    }
  }
}

// MARK: - A thread's table

/// One thread's blocks, by the indices of their storages. Only that thread uses it.
private struct ThreadTable {
  private struct Entry {
    var number: UInt64
    var block: UnsafeMutableRawPointer?
  }

  /// The first entry's number is how many follow.
  private let entries: UnsafeMutablePointer<Entry>

  private static let key = {
    var key = pthread_key_t()
    let error = pthread_key_create(&key) { table in
      guard let table else { return }
      ThreadTable(entries: table.assumingMemoryBound(to: Entry.self)).end()
    }
    precondition(error == 0, "no thread-local storage for the blocks of modules")
    return key
  }()

  static var current: ThreadTable? {
    pthread_getspecific(key).map { ThreadTable(entries: $0.assumingMemoryBound(to: Entry.self)) }
  }

  private var count: Int { Int(entries[0].number) }

  func block(_ key: ThreadStorage.Key) -> UnsafeMutableRawPointer? {
    if key.index >= count { return nil }
    let entry = entries[key.index + 1]
    return entry.number == key.number ? entry.block : nil
  }

  func set(_ block: UnsafeMutableRawPointer, _ key: ThreadStorage.Key) {
    entries[key.index + 1] = Entry(number: key.number, block: block)
  }

  /// The calling thread's table, with room at `index`. Nil if there is no memory.
  static func makeCurrent(holding index: Int) -> ThreadTable? {
    let old = current
    if let old, index < old.count { return old }
    let count = max(index + 1, (old?.count ?? 4) * 2)
    guard let memory = calloc(count + 1, MemoryLayout<Entry>.stride) else { return nil }
    let new = ThreadTable(entries: memory.assumingMemoryBound(to: Entry.self))
    if let old {
      (new.entries + 1).update(from: old.entries + 1, count: old.count)
    }
    new.entries[0].number = UInt64(count)
    if pthread_setspecific(key, memory) != 0 {
      free(memory)
      return nil
    }
    if let old { free(old.entries) }
    return new
  }

  /// The thread ends. A destructor that runs later, and asks for a block, makes a new table.
  func end() {
    var blocks: [(number: UInt64, block: UnsafeMutableRawPointer)] = []
    for index in 1..<count + 1 {
      if let block = entries[index].block { blocks.append((entries[index].number, block)) }
    }
    free(entries)
    ThreadStorage.giveBack(blocks)
  }
}
