import Foundation
import ModuleFiles
import TestSupport
import Testing

/// What modules say about themselves in their files, and the index of a directory of them.
@Suite struct IndexTests {
  private func error(_ body: () throws(ModuleFileError) -> Void) -> ModuleFileError? {
    do {
      try body()
      return nil
    } catch { return error }
  }

  @Test func moduleInfoIsReadFromTheFile() async throws {
    let folder = ModuleFolder()
    let path = await folder.add(
      "talker",
      """
      QUIESCENT_INFO("author", "N. N.");
      QUIESCENT_INFO("note", "a=b");
      QUIESCENT_DEPENDS("first, second,first");
      QUIESCENT_DEPENDS("third");
      QUIESCENT_SOFTDEP("ignored pre: a plat:dma64 b:\\tpost: c");
      QUIESCENT_ALIAS("net-flow-*");
      QUIESCENT_ALIAS("other");
      """)
    let info = try ModuleInfo(path: path)
    #expect(info.name == "talker")
    #expect(info.values("author") == ["N. N."])
    #expect(info.values("note") == ["a=b"])
    #expect(info.depends == ["first", "second", "third"])
    #expect(info.softBefore == ["a", "plat:dma64", "b:"] && info.softAfter == ["c"])
    #expect(info.aliases == ["net-flow-*", "other"])
    #expect(!isMapped(path))
  }

  @Test func fileWithoutInfoIsAModule() async throws {
    let folder = ModuleFolder()
    let info = try ModuleInfo(path: await folder.add("silent"))
    #expect(info.entries.isEmpty && info.depends.isEmpty)
    withExtendedLifetime(folder) {}
  }

  @Test(arguments: [
    (#"QUIESCENT_INFO("", "x");"#, "holds what is not key=value"),
    (#"QUIESCENT_INFO("note", "two\nlines");"#, "holds what is not key=value"),
    (#"QUIESCENT_INFO("note", "\xff");"#, "holds what is not key=value"),
    (#"QUIESCENT_DEPENDS("../escape");"#, "depends on '../escape', which is no module's name"),
    (#"QUIESCENT_ALIAS("with space");"#, "its alias 'with space' is empty or has spaces"),
  ])
  func invalidInfoIsNamed(_ facts: String, _ reason: String) async throws {
    let folder = ModuleFolder()
    let path = await folder.add("strange", facts)
    let error = error { () throws(ModuleFileError) in _ = try ModuleInfo(path: path) }
    withExtendedLifetime(folder) {}
    #expect(error?.errno == EINVAL)
    #expect(error?.reason.contains(reason) == true, "\(error?.description ?? "no error")")
  }

  /// Every prefix and many garbled versions of a file are answered, and none crashes.
  @Test func damagedFilesAreRefused() async throws {
    let folder = ModuleFolder()
    let path = await folder.add("whole", #"QUIESCENT_DEPENDS("first");"#)
    let bytes = try Data(contentsOf: URL(filePath: path))
    let damaged = URL(filePath: folder.path).appending(path: "damaged.so")
    var answered = 0
    for round in 0..<400 {
      var copy = bytes
      if round % 2 == 0 {
        copy = copy.prefix(round * bytes.count / 400)
      } else {
        // The header and the table of sections lie at the ends.
        for step in 0..<8 {
          let place = (round * 7919 + step * 104_729) % 2048
          copy[step % 2 == 0 ? place % 64 : copy.count - 1 - place] = UInt8((round * 31 + step) & 255)
        }
      }
      try copy.write(to: damaged)
      do { _ = try ModuleInfo(path: damaged.path) } catch { answered += error.reason.isEmpty ? 0 : 1 }
    }
    #expect(answered >= 200)
  }

  // MARK: - The index

  @Test func indexIsWrittenAndReadBack() async throws {
    let folder = ModuleFolder()
    await folder.add(
      "alpha", #"QUIESCENT_DEPENDS("beta"); QUIESCENT_ALIAS("flow-*"); QUIESCENT_SOFTDEP("pre: gamma");"#)
    await folder.add("beta", in: "deep/er")
    await folder.add("gamma", #"QUIESCENT_ALIAS("flow-1"); QUIESCENT_ALIAS("flow-[23]");"#)
    try folder.write("note.txt", "no module")
    try folder.write(".hidden.so", "no module")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/loop", withDestinationPath: folder.path)
    let scanned = try ModuleIndex.scan(folder.path)
    #expect(scanned.entries.map(\.name) == ["alpha", "beta", "gamma"])
    #expect(scanned.entries.map(\.file) == ["alpha.so", "deep/er/beta.so", "gamma.so"])
    try scanned.write()
    // Again, over the one that is there.
    try scanned.write()
    let index = try ModuleIndex(readingFrom: folder.path)
    #expect(index == scanned)
    #expect(try !index.isStale())
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("modules") } == [
        "modules.index"
      ])

    #expect(index.matches("flow-1").map(\.name) == ["alpha", "gamma"])
    #expect(index.matches("flow-9").map(\.name) == ["alpha"])
    #expect(index.matches("flow").isEmpty)
    // A name comes before aliases.
    #expect(index.matches("beta").map(\.name) == ["beta"])
    #expect(try index.order(for: "alpha").map(\.name) == ["gamma", "beta", "alpha"])
    #expect(index.dependents(of: "beta").map(\.name) == ["alpha"])
  }

  /// Without a lock around it: each finds its turn, and the index is whole at any time.
  @Test func concurrentWritersLeaveOneIndex() async throws {
    let folder = ModuleFolder()
    for name in ["one", "two", "three"] { await folder.add(name) }
    let index = try ModuleIndex.scan(folder.path)
    try index.write()
    let wrong = Counter()
    await onThreads(4) { _ in
      for _ in 0..<50 {
        do {
          // The limit only keeps a failing test from hanging.
          try index.write(within: .seconds(300))
          if try ModuleIndex(readingFrom: folder.path) != index { wrong.add(1) }
        } catch { wrong.add(1) }
      }
    }
    #expect(wrong.value == 0)
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/modules.index.new"))
  }

  @Test func hyphensAndUnderscoresAreTheSame() async throws {
    let folder = ModuleFolder()
    await folder.add("a-b_c", #"QUIESCENT_ALIAS("x-*_y");"#)
    await folder.add("user", #"QUIESCENT_DEPENDS("a_b-c");"#)
    let index = try ModuleIndex.scan(folder.path)
    #expect(index.entry("a_b_c")?.name == "a-b_c")
    #expect(index.matches("x_1-y").map(\.name) == ["a-b_c"])
    #expect(try index.order(for: "user").map(\.name) == ["a-b_c", "user"])
  }

  @Test func fileThatChangesMakesTheIndexStale() async throws {
    let folder = ModuleFolder()
    let path = await folder.add("alpha")
    try ModuleIndex.scan(folder.path).write()
    func isStale() throws -> Bool { try ModuleIndex(readingFrom: folder.path).isStale() }
    #expect(try !isStale())
    await folder.add("beta")
    #expect(try isStale())
    try FileManager.default.removeItem(atPath: folder.path + "/beta.so")
    #expect(try !isStale())
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: path)
    #expect(try isStale())
    try ModuleIndex.scan(folder.path).write()
    #expect(try !isStale())
    try FileManager.default.moveItem(atPath: path, toPath: folder.path + "/gamma.so")
    #expect(try isStale())
  }

  /// Left out, said, and remembered: the others can be found.
  @Test func otherFilesAreSkipped() async throws {
    let folder = ModuleFolder()
    await folder.add("good")
    await folder.add("same-name")
    await folder.add("same_name", in: "deep")
    try folder.write("broken.so", "no module")
    var problems: [ModuleFileError] = []
    let index = try ModuleIndex.scan(folder.path) { problems.append($0) }
    #expect(Set(problems.map(\.errno)) == [EEXIST, ENOEXEC])
    #expect(problems.contains { $0.subject.hasSuffix("/broken.so") })
    #expect(index.entries.map(\.name) == ["good", "same_name"])
    #expect(Set(index.skipped.map(\.file)) == ["broken.so", "same-name.so"])
    try index.write()
    let read = try ModuleIndex(readingFrom: folder.path)
    #expect(try read == index && !read.isStale())
    try folder.write("broken.so", "another thing")
    #expect(try read.isStale())
  }

  @Test func cyclesAndMissingDependenciesAreNamed() async throws {
    let folder = ModuleFolder()
    await folder.add("one", #"QUIESCENT_DEPENDS("two");"#)
    await folder.add("two", #"QUIESCENT_DEPENDS("three");"#)
    await folder.add("three", #"QUIESCENT_DEPENDS("two");"#)
    await folder.add("lonely", #"QUIESCENT_DEPENDS("absent");"#)
    await folder.add("self", #"QUIESCENT_DEPENDS("self");"#)
    let index = try ModuleIndex.scan(folder.path)
    let cycle = error { () throws(ModuleFileError) in _ = try index.order(for: "one") }
    #expect(cycle?.errno == ELOOP)
    #expect(cycle?.reason == "depends on itself: two → three → two")
    #expect(
      error { () throws(ModuleFileError) in _ = try index.order(for: "self") }?.reason
        == "depends on itself: self → self")
    let gap = error { () throws(ModuleFileError) in _ = try index.order(for: "lonely") }
    #expect(gap?.errno == ENOENT && gap?.subject == "lonely")
    #expect(gap?.reason.hasPrefix("depends on absent, which is not in ") == true)
    #expect(error { () throws(ModuleFileError) in _ = try index.order(for: "nothing") }?.errno == ENOENT)
    #expect(error { () throws(ModuleFileError) in try index.check() } != nil)
  }

  /// A soft dependency that is missing, or that would be a cycle, is left out, with its own
  /// dependencies.
  @Test func missingSoftDependenciesAreIgnored() async throws {
    let folder = ModuleFolder()
    await folder.add("base")
    await folder.add("early", #"QUIESCENT_DEPENDS("base");"#)
    await folder.add("broken", #"QUIESCENT_DEPENDS("base,absent");"#)
    await folder.add("late", #"QUIESCENT_SOFTDEP("pre: main");"#)
    await folder.add("main", #"QUIESCENT_SOFTDEP("pre: broken absent early post: late main");"#)
    let index = try ModuleIndex.scan(folder.path)
    #expect(try index.order(for: "main").map(\.name) == ["base", "early", "main", "late"])
    #expect(try index.order(for: "late").map(\.name) == ["base", "early", "main", "late"])
  }

  /// As the kernel's modules name them (`pre: sum`); an alias stands for each module that has it.
  @Test func softDependenciesAreNamedByAliasToo() async throws {
    let folder = ModuleFolder()
    await folder.add("crc", #"QUIESCENT_ALIAS("sum"); QUIESCENT_ALIAS("plat:dma*");"#)
    await folder.add("adler", #"QUIESCENT_ALIAS("sum");"#)
    await folder.add("broken", #"QUIESCENT_ALIAS("sum"); QUIESCENT_DEPENDS("absent");"#)
    await folder.add("by-sum", #"QUIESCENT_SOFTDEP("pre: sum");"#)
    await folder.add("by-colon", #"QUIESCENT_SOFTDEP("post: plat:dma64 plat:");"#)
    // It means itself, which is no cycle.
    await folder.add("own", #"QUIESCENT_ALIAS("mine"); QUIESCENT_SOFTDEP("pre: mine");"#)
    let scanned = try ModuleIndex.scan(folder.path)
    try scanned.write()
    for index in [scanned, try ModuleIndex(readingFrom: folder.path)] {
      #expect(try index.order(for: "by-sum").map(\.name) == ["adler", "crc", "by-sum"])
      #expect(try index.order(for: "by-colon").map(\.name) == ["by-colon", "crc"])
      #expect(try index.order(for: "own").map(\.name) == ["own"])
    }
    // A module without its own aliases is not loaded for one of them.
    var configuration = ModuleConfiguration()
    configuration["crc"].isBlacklisted = true
    let configured = scanned.configured(by: configuration)
    #expect(try configured.order(for: "by-sum").map(\.name) == ["adler", "by-sum"])
  }

  @Test func deepChainIsOrdered() async throws {
    let folder = ModuleFolder()
    // A ladder: each depends on the two before, so that the number of ways doubles with each step.
    for step in 0..<24 {
      await folder.add(
        "step\(step)",
        step < 2
          ? ""
          : "QUIESCENT_DEPENDS(\"step\(step - 1),step\(step - 2)\"); QUIESCENT_SOFTDEP(\"pre: step\(step - 2)\");"
      )
    }
    let order = try ModuleIndex.scan(folder.path).order(for: "step23").map(\.name)
    #expect(Set(order).count == 24 && order.count == 24 && order.last == "step23")
  }

  @Test(arguments: [
    ("", "line 1"), ("garbage\n", "line 1"), ("quiescence-module-index 2\nend 0\n", "not the index"),
    ("quiescence-module-index 1\n", "cut short"), ("quiescence-module-index 1\nend 0", "cut short"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 a.so\n", "cut short"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 a.so\nend 2\n", "cut short"),
    ("quiescence-module-index 1\nmodule a 1 1.0 a.so\nend 1\n", "line 2: 'module a 1 1.0 a.so' is no module"),
    ("quiescence-module-index 1\nmodule a -1 1.000000000 a.so\nend 1\n", "line 2"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 ../a.so\nend 1\n", "line 2"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 /a.so\nend 1\n", "line 2"),
    ("quiescence-module-index 1\nmodule a/b 1 1.000000000 a.so\nend 1\n", "line 2"),
    ("quiescence-module-index 1\ndepends a\nend 0\n", "line 2"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 a.so\nwants b\nend 1\n", "line 3"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 a.so\ndepends b c\nend 1\n", "line 3"),
    ("quiescence-module-index 1\nmodule a 1 1.000000000 a.so\n\nend 1\n", "line 3"),
  ])
  func damagedIndexIsRefused(_ text: String, _ reason: String) async throws {
    let folder = ModuleFolder()
    try folder.write("modules.index", text)
    let error = error { () throws(ModuleFileError) in _ = try ModuleIndex(readingFrom: folder.path) }
    #expect(error?.errno == EBADMSG)
    #expect(error?.reason.contains(reason) == true, "\(error?.description ?? "no error")")
    #expect(error?.reason.hasSuffix("run quiesce depmod \(folder.path)") == true)
  }

  @Test func missingFilesAreENOENT() async throws {
    let folder = ModuleFolder()
    #expect(
      error { () throws(ModuleFileError) in _ = try ModuleIndex(readingFrom: folder.path) }?.errno == ENOENT)
    #expect(
      error { () throws(ModuleFileError) in _ = try ModuleIndex.scan(folder.path + "/no") }?.errno == ENOENT)
    let empty = try ModuleIndex.scan(folder.path)
    try empty.write()
    #expect(try ModuleIndex(readingFrom: folder.path).entries.isEmpty)
  }
}
