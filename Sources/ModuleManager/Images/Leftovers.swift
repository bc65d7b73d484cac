internal import Glibc
internal import ModuleFiles
internal import _ImageShims

/// What an image's code has left behind in the process, and what would call it after it is
/// unmapped: threads, signal handlers, timers, destructors of thread-specific data.
///
/// `exit` of a module ends these. A search finds those that it has not ended, so that the image
/// stays mapped and nothing jumps into unmapped memory. It takes about a tenth of a millisecond and
/// is only for images that ``ImageFacts/mayLeaveSomethingBehind``.
struct Leftovers {
  let code: Range<UInt>
  private let bounds: Range<UInt>
  private let facts: ImageFacts
  /// When its image began to be mapped.
  private let beginning: ThreadAge

  /// - Parameters:
  ///   - address: What the loader has added to the addresses in the file.
  ///   - beginning: A moment before the image was mapped: no thread that started earlier began with
  ///     a function of it.
  init?(of address: UInt, in bounds: Range<UInt>, _ facts: ImageFacts, since beginning: ThreadAge) {
    guard let code = Self.code(of: address) else { return nil }
    self.code = code
    self.bounds = bounds
    self.facts = facts
    self.beginning = beginning
  }

  /// What was found first; nil if nothing was.
  func search() -> String? { thread() ?? signalHandler() ?? timer() ?? keyDestructor() }

  private func thread() -> String? {
    let own = qs_image_own_thread()
    let libraries = facts.needsOtherLibraries ? libraryCode : []
    for thread in LeftoverThread.all where thread.id != own {
      if let reason = reason(toStayFor: thread, libraries) { return reason }
    }
    return nil
  }

  private func reason(toStayFor thread: LeftoverThread, _ libraries: [Range<UInt>]) -> String? {
    for look in 0..<40 {
      if look > 0 { usleep(500) }
      // Each time: a thread that was just created has no record until it runs.
      let first = thread.firstFunction(in: code, orObjectOf: facts.usesThreadClass ? bounds : nil, libraries)
      if first == .inCode { return "its thread \(thread.id)\(thread.label) is still running" }
      if first == .elsewhere && !facts.needsOtherLibraries { return nil }
      guard let age = thread.age, age >= beginning else { return nil }
      switch thread.stack(returnsTo: code) {
      case .inside: return "its thread \(thread.id)\(thread.label) is still running"
      case .outside: return nil
      // A thread of the host may be running whenever we look.
      case .unknown: if first == .elsewhere { return nil }
      }
    }
    return "thread \(thread.id)\(thread.label), which started after the image was mapped, never stops "
      + "running, so it may be one of the module's"
  }

  /// The code of the libraries that the module needs: they can start a thread with a function of
  /// their own, which then calls the module's.
  private var libraryCode: [Range<UInt>] {
    facts.otherLibraries.compactMap { name in
      guard let handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD) else { return nil }
      defer { dlclose(handle) }
      return Self.code(of: qs_image_address(handle))
    }
  }

  private static func code(of address: UInt) -> Range<UInt>? {
    var (start, end): (UInt, UInt) = (0, 0)
    return qs_image_code(address, &start, &end) != 0 || end <= start ? nil : start..<end
  }

  /// Source: sigaction(2). The C library refuses the signals that it keeps for itself.
  private func signalHandler() -> String? {
    for signal in 1..<Int32(NSIG) {
      var action = sigaction()
      if sigaction(signal, nil, &action) != 0 { continue }
      let handler = unsafeBitCast(action.__sigaction_handler, to: UInt.self)
      if code.contains(handler) { return "its handler of signal \(signal) is still installed" }
    }
    return nil
  }

  /// A timer that calls a function (`SIGEV_THREAD`). Its signal is the C library's own, and the
  /// value of the signal points to the C library's record of the timer, which holds the function.
  ///
  /// Source: proc(5), `/proc/PID/timers`; glibc, sysdeps/unix/sysv/linux/timer_create.c.
  private func timer() -> String? {
    guard let text = ProcessFile.text("/proc/self/timers") else { return nil }
    var id: Substring = ""
    for line in text.split(separator: "\n") {
      if line.hasPrefix("ID: ") { id = line.dropFirst(4) }
      guard line.hasPrefix("signal: 32/"),
        let record = UInt(line.dropFirst(11).drop { $0 == "0" || $0 == "x" }, radix: 16)
      else { continue }
      if Self.words(at: record, count: 16).contains(where: code.contains) {
        return "its timer \(id) is not deleted"
      }
    }
    return nil
  }

  private func keyDestructor() -> String? {
    var size = 0
    let table = qs_image_keys(&size)
    if table == 0 { return nil }
    let words = Self.words(at: table, count: size / MemoryLayout<UInt>.size)
    // Pairs of a sequence number and a destructor; a key is in use when its number is odd.
    for key in 0..<words.count / 2 where words[key * 2] & 1 == 1 && code.contains(words[key * 2 + 1]) {
      return "its key \(key) of thread-specific data, which has a destructor, is not deleted"
    }
    return nil
  }

  /// None where the memory is not readable.
  static func words(at address: UInt, count: Int) -> [UInt] {
    let size = MemoryLayout<UInt>.size
    return [UInt](unsafeUninitializedCapacity: count) { buffer, initialized in
      initialized = max(0, qs_image_read(address, buffer.baseAddress, count * size)) / size
    }
  }
}
