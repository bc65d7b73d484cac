internal import Glibc
internal import _ImageShims

/// A thread of the process, as the kernel and the C library show it.
///
/// Source: proc(5), `/proc/PID/task/TID/stat` and `syscall`; get_robust_list(2); glibc,
/// nptl/descr.h.
struct LeftoverThread {
  let id: pid_t

  static var all: [LeftoverThread] {
    guard let folder = opendir("/proc/self/task") else { return [] }
    defer { closedir(folder) }
    var threads: [LeftoverThread] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let id = pid_t(name) { threads.append(LeftoverThread(id: id)) }
    }
    return threads
  }

  private func read(_ name: String) -> String? { ProcessFile.text("/proc/self/task/\(id)/\(name)") }

  /// When it started; nil if it has ended.
  var age: ThreadAge? {
    // The name is in parentheses, and may have any character.
    guard let text = read("stat"), let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[end...].split(separator: " ")
    // The 22nd field; the first of these is the second.
    return fields.count > 20 ? UInt64(fields[20]).map(ThreadAge.init(ticks:)) : nil
  }

  /// Its name in parentheses, for a message; empty when it has none.
  var label: String {
    let name = read("comm")?.split(separator: "\n").first ?? ""
    return name.isEmpty ? "" : " (\(name))"
  }

  /// Where the function is that a thread began with.
  enum FirstFunction {
    case inCode
    case inLibrary
    case elsewhere
    /// The C library has no record of the thread.
    case unknown
  }

  /// Whether a thread will return to the code.
  enum Position {
    case inside
    /// It will not, or has ended.
    case outside
    /// It was running, so the kernel did not show where it was.
    case unknown
  }
}

// MARK: - The function that a thread began with

extension LeftoverThread {
  /// Where the function is that the thread began with.
  ///
  /// The C library's record of a thread holds that function and its argument for as long as the
  /// thread lives. The list of robust mutexes, which the kernel tells of any thread, is a part of
  /// the record and comes before the function. Nil as `image` unless the module uses `std::thread`:
  /// a thread of that class begins with a function of the C++ library, and its argument is an
  /// object that begins with a pointer into the module's image.
  func firstFunction(
    in code: Range<UInt>, orObjectOf image: Range<UInt>?, _ libraries: [Range<UInt>]
  ) -> FirstFunction {
    let record = qs_image_thread_record(id)
    if record == 0 { return .unknown }
    var isInLibrary = false
    for word in Leftovers.words(at: record, count: Self.recordSize / 8) where word > 4096 {
      if code.contains(word) { return .inCode }
      if let image, word & 7 == 0, let first = Leftovers.words(at: word, count: 1).first,
        image.contains(first)
      {
        return .inCode
      }
      isInLibrary = isInLibrary || libraries.contains { $0.contains(word) }
    }
    return isInLibrary ? .inLibrary : .elsewhere
  }

  /// From the list of mutexes on; the function is 864 bytes behind it in glibc 2.36.
  private static var recordSize: Int { 1280 }
}

// MARK: - Its stack

extension LeftoverThread {
  /// Whether a frame on the thread's stack returns to `code`; we look while the thread is blocked.
  ///
  /// The thread may go on while we read its stack. The frame of the module's outermost function
  /// stays where it is until that function returns, and the frame below it holds the address that
  /// returns to it: so it is found whenever we look. Frames of callers of the module's hooks are
  /// gone by now: a grace period was waited for before `exit` was called.
  func stack(returnsTo code: Range<UInt>) -> Position {
    guard let text = read("syscall") else { return .outside }
    // "running"; or the call and its arguments, the stack pointer, the program counter.
    let fields = text.split { $0 == " " || $0 == "\n" }
    guard fields.count >= 3, let stack = UInt(hex: fields[fields.count - 2]),
      let counter = UInt(hex: fields[fields.count - 1])
    else { return .unknown }
    if code.contains(counter) || hasFrame(of: code, from: stack) { return .inside }
    // -1: it is not in a system call, so it may not have begun its function.
    return fields[0] == "-1" ? .unknown : .outside
  }

  /// Reads the stack from its pointer up to the first page that cannot be read: below each stack
  /// there is a guard.
  private func hasFrame(of code: Range<UInt>, from stack: UInt) -> Bool {
    let page: UInt = 4096
    var address = stack & ~7
    let (limit, overflow) = address.addingReportingOverflow(8 << 20)
    while address < limit && !overflow {
      let next = (address & ~(page - 1)) + page
      let words = Leftovers.words(at: address, count: Int(next - address) / 8)
      if words.contains(where: { isReturn($0, to: code) }) { return true }
      if words.isEmpty { return false }
      address = next
    }
    return false
  }

  /// Whether a word of a stack is the address that follows a call. Stacks also hold plain pointers
  /// to functions, for example to hooks in a caller's loop.
  private func isReturn(_ word: UInt, to code: Range<UInt>) -> Bool {
    #if arch(x86_64)
      if !code.contains(word) || word - code.lowerBound < 7 { return false }
      var bytes = [UInt8](repeating: 0, count: 7)
      if qs_image_read(word - 7, &bytes, 7) != 7 { return false }
      // call rel32; or call r/m64, from 2 to 7 bytes long.
      return bytes[2] == 0xe8
        || (0..<6).contains { bytes[$0] == 0xff && bytes[$0 + 1] & 0x38 == 0x10 }
    #else
      // The upper bits may hold a signature of the address.
      return code.contains(word & (1 << 48 - 1))
    #endif
  }
}

/// When a thread started: clock ticks since the boot of the machine.
struct ThreadAge: Comparable {
  let ticks: UInt64

  static var now: ThreadAge {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    let frequency = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
    let fraction = UInt64(time.tv_nsec) * frequency / 1_000_000_000
    return ThreadAge(ticks: UInt64(time.tv_sec) * frequency + fraction)
  }

  static func < (left: ThreadAge, right: ThreadAge) -> Bool { left.ticks < right.ticks }
}

extension UInt {
  /// A number in the form `0x7f`.
  fileprivate init?(hex text: Substring) {
    self.init(text.dropFirst(text.hasPrefix("0x") ? 2 : 0), radix: 16)
  }
}
