import Foundation
import ModuleFiles
import TestSupport
import Testing

/// The name in a module's file is the module's name.
@Suite struct NameTests {
  let folder = ModuleFolder()

  /// Compiles a module called `name` to the file `file`.
  private func add(_ file: String, called name: String, _ options: String...) async {
    let path = folder.path
    await onThread {
      _ = Compiler.module(
        """
        #include "quiescent_module.h"
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h; (void)s; return 0; }
        static int leave(void) { return 0; }
        QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
        """, in: URL(filePath: path), named: file, options: options)
    }
  }

  @Test(arguments: [
    [], ["-fuse-ld=lld", "-Wl,--pack-dyn-relocs=relr"], ["-g"], ["-s"], ["-O0", "-Wl,-z,now"],
  ])
  func nameIsReadFromTheFileWithoutMappingIt(_ options: [String]) async throws {
    let path = folder.path
    await onThread {
      _ = Compiler.module(
        """
        #include "quiescent_module.h"
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h; (void)s; return 0; }
        QUIESCENT_MODULE(.name = "inner", .init = init)
        """, in: URL(filePath: path), named: "outer", options: options)
    }
    let info = try ModuleInfo(path: "\(path)/outer.so")
    #expect(info.name == "outer" && info.moduleName == "inner")
    #expect(!isMapped("\(path)/outer.so"))
  }

  @Test func sharedObjectThatIsNoModuleHasNoModuleName() async throws {
    let path = folder.path
    await onThread { _ = Compiler.module("int unrelated = 1;\n", in: URL(filePath: path), named: "plain") }
    let info = try ModuleInfo(path: "\(path)/plain.so")
    #expect(info.moduleName == nil)
    try info.checkName()
  }

  @Test func fileOfAnotherNameIsLeftOutOfTheIndexWithBothNames() async throws {
    await add("bar", called: "foo")
    await add("good", called: "good")
    var problems: [ModuleFileError] = []
    let index = try ModuleIndex.scan(folder.path) { problems.append($0) }
    #expect(
      problems.map(\.description) == [
        "\(folder.path)/bar.so: its module is called 'foo', and its file 'bar': they must be the same (ENOEXEC)"
      ])
    #expect(index.entries.map(\.name) == ["good"] && index.skipped.map(\.file) == ["bar.so"])
    // A request for it says the same, and not that there is no such file.
    for index in [index, try written(index)] {
      do throws(ModuleFileError) {
        _ = try index.paths(for: "bar")
        Issue.record("bar was found")
      } catch { #expect(error == problems[0]) }
      do throws(ModuleFileError) {
        _ = try index.paths(for: "foo")
        Issue.record("foo was found")
      } catch { #expect(error.errno == ENOENT) }
    }
  }

  private func written(_ index: ModuleIndex) throws -> ModuleIndex {
    try index.write()
    return try ModuleIndex(readingFrom: folder.path)
  }

  @Test func hyphensAndUnderscoresOfFileAndModuleAreEqual() async throws {
    await add("rate-limit", called: "rate_limit")
    let index = try ModuleIndex.scan(folder.path) { Issue.record("\($0)") }
    #expect(index.entries.map(\.name) == ["rate_limit"])
    for name in ["rate-limit", "rate_limit"] {
      #expect(try index.paths(for: name) == ["\(folder.path)/rate-limit.so"])
    }
  }

  @Test func invalidNameIsRefused() async throws {
    await add("odd", called: "no/name")
    var problems: [ModuleFileError] = []
    _ = try ModuleIndex.scan(folder.path) { problems.append($0) }
    #expect(problems.map(\.errno) == [EINVAL])
  }

  @Test func equalNamesHaveOneKey() {
    #expect(ModuleName.key("a-b_c") == "a_b_c" && ModuleName.key("plain") == "plain")
    #expect(ModuleName.isValid("a.b-c_9") && !ModuleName.isValid("") && !ModuleName.isValid("a/b"))
    #expect(!ModuleName.isValid(String(repeating: "x", count: 65)))
    #expect(ModuleName.ofFile("/a/b.so") == "b" && ModuleName.ofFile("b") == "b")
    #expect(
      ModuleName.ofFile("a/b.so/") == "b" && ModuleName.ofFile("//") == "//" && ModuleName.ofFile("") == "")
    #expect(
      ModuleName.ofFile("é/ü.so") == "ü" && ModuleName.ofFile("/.so") == ""
        && ModuleName.ofFile("a.so.so") == "a.so")
  }
}
