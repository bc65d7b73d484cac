import Foundation
import ModuleFiles
import TestSupport
import Testing

/// Images with changes at random places: the inspection refuses them or the loader takes them.
@Suite struct ImageMutationTests {
  /// The same numbers in every run.
  struct Generator: RandomNumberGenerator {
    var state: UInt64

    // SplitMix64
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
      return word ^ (word >> 31)
    }
  }

  /// `MUTATIONS=10` for ten times as many.
  static func count(_ usual: Int) -> Int {
    usual * (ProcessInfo.processInfo.environment["MUTATIONS"].flatMap(Int.init) ?? 1)
  }

  /// Changes up to four bytes, words or blocks.
  static func mutate(_ image: ImageEditor, seed: Int) -> ImageEditor {
    var random = Generator(state: UInt64(seed))
    var image = image
    let count = image.bytes.count
    let numbers: [UInt64] = [0, 1, 7, 8, 255, 4096, 1 << 31, 1 << 32, 1 << 63, .max, .max - 7, UInt64(count)]
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      // Half of them where the headers and the tables of a small image are.
      let end = Bool.random(using: &random) ? count : min(count, 1600)
      let place = Int.random(in: 0..<end - 8, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0, 1: image.bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: image.bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 3, 4: image.write(numbers.randomElement(using: &random)!, at: place & ~7)
      case 5: image.write(UInt32.random(in: 0...UInt32(count), using: &random), at: place & ~3)
      case 6: image.write(UInt64.random(in: 0...UInt64(count), using: &random), at: place & ~7)
      default:
        let other = Int.random(in: 0..<end - 8, using: &random)
        image.write(image.read(UInt64.self, at: other & ~7), at: place & ~7)
      }
    }
    return image
  }

  /// In a process whose memory is limited.
  @Test(.timeLimit(.minutes(20))) func inspectionOfAnythingNeitherTrapsNorAllocatesMuch() async throws {
    let paths = SampleImages.quiet + [SampleImages.whole]
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [paths = paths as [String]] in
      let images = try paths.map { try ImageEditor($0) }
      // What is loaded on the first use.
      _ = images.map { $0.fault() }
      let status = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
      let used = UInt(status.split(separator: " ")[0])! * UInt(getpagesize())
      var limit = rlimit(rlim_cur: used + 16 << 20, rlim_max: used + 16 << 20)
      precondition(setrlimit(__rlimit_resource_t(9), &limit) == 0, "RLIMIT_AS")
      var accepted = 0
      for seed in 0..<ImageMutationTests.count(2000) {
        let image = ImageMutationTests.mutate(images[seed % images.count], seed: seed)
        if image.fault() == nil { accepted += 1 }
      }
      // Neither everything nor nothing.
      let isPlausible = (ImageMutationTests.count(100)...ImageMutationTests.count(1900)).contains(accepted)
      ImageMutationTests.report(isPlausible ? [] : ["\(accepted) accepted"])
    }
    #expect(result?.standardErrorContent == [], "\(Self.text(result))")
  }

  /// What the inspection accepts, the loader maps, relocates and unmaps, or refuses.
  @Test(.timeLimit(.minutes(20))) func loaderSurvivesWhatTheInspectionAccepts() async throws {
    let paths = SampleImages.quiet
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [paths = paths as [String]] in
      let images = try paths.map { try ImageEditor($0) }
      let file = "\(NSTemporaryDirectory())/mutated-\(getpid()).so"
      defer { unlink(file) }
      var (tried, seed, died) = (0, 100_000, [String]())
      while tried < ImageMutationTests.count(150) {
        seed += 1
        let image = ImageMutationTests.mutate(images[seed % images.count], seed: seed)
        if image.bytes == images[seed % images.count].bytes || image.fault() != nil { continue }
        try image.save(file)
        tried += 1
        let end = Forked.run { ImageMutationTests.load(file) }
        if end != .exited(0) { died.append("seed \(seed): \(end)") }
      }
      ImageMutationTests.report(died)
    }
    #expect(result?.standardErrorContent == [], "\(Self.text(result))")
  }

  /// A block that was not written before the power went.
  @Test(.timeLimit(.minutes(20))) func fileWithABlockOfZerosIsRefusedOrLoads() async throws {
    let paths = SampleImages.quiet + [SampleImages.whole]
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [paths = paths as [String]] in
      let file = "\(NSTemporaryDirectory())/zeros-\(getpid()).so"
      defer { unlink(file) }
      var (refused, died) = (0, [String]())
      for path in paths {
        let image = try ImageEditor(path)
        for start in stride(from: 0, to: image.bytes.count, by: 512) {
          var changed = image
          for place in start..<min(start + 512, image.bytes.count) { changed.bytes[place] = 0 }
          if changed.fault() != nil {
            refused += 1
            continue
          }
          try changed.save(file)
          let end = Forked.run { ImageMutationTests.load(file) }
          if end != .exited(0) { died.append("\(path) at \(start): \(end)") }
        }
      }
      ImageMutationTests.report(refused > 12 ? died : died + ["\(refused) refused"])
    }
    #expect(result?.standardErrorContent == [], "\(Self.text(result))")
  }

  /// What is wrong, for the test in the parent.
  private static func report(_ lines: [String]) {
    for line in lines { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
  }

  private static func text(_ result: ExitTest.Result?) -> String {
    result.map { String(decoding: $0.standardErrorContent, as: UTF8.self) } ?? "no result"
  }

  /// In a child. What the loader says is no matter, as long as it says it.
  private static func load(_ path: String) -> Int32 {
    // A message of the loader is none of a failing test.
    close(2)
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else { return 0 }
    _ = dlsym(handle, "quiescent_module")
    _ = dlsym(handle, "no_such_symbol")
    dlclose(handle)
    return 0
  }
}
