import Foundation
import ModuleFiles
import TestSupport
import Testing

/// What the inspection accepts, and what it finds in it.
@Suite struct ImageFileTests {
  private func facts(_ name: String, _ code: String, _ options: String...) async throws -> ImageFacts {
    try ModuleInfo(path: await onThread { SampleImages.build(name, code, options) }).image
  }

  /// An image of every linker and option is accepted.
  @Test(arguments: [
    [], ["-fuse-ld=lld"], ["-fuse-ld=bfd"], ["-fuse-ld=lld", "-Wl,--pack-dyn-relocs=relr"],
    ["-Wl,--hash-style=sysv"], ["-fuse-ld=bfd", "-Wl,--hash-style=both"], ["-g"], ["-s"], ["-O0"],
    ["-Wl,-z,now"], ["-fuse-ld=bfd", "-Wl,-z,noseparate-code"], ["-mtls-dialect=gnu2", "-fuse-ld=bfd"],
    ["-ftls-model=initial-exec"], ["-Wl,--build-id"],
  ])
  func imagesOfEveryLinkerAreAccepted(_ options: [String]) async throws {
    if options.contains("-mtls-dialect=gnu2") && Machine.isOther { return }
    let name = "linked-\(UUID().uuidString)"
    let path = await onThread {
      SampleImages.build(name, SampleImages.code + SampleImages.constructors, options)
    }
    let info = try ModuleInfo(path: path)
    #expect(info.moduleName == "quiet" && info.values("license") == ["MIT"])
    #expect(info.image.abi == 1 && info.image.needed.contains("libc.so.6") && info.image.hasThreadLocals)
    #expect(info.image.constructors > 0 && info.image.destructors > 0)
    #expect(!isMapped(path))
  }

  private enum Machine {
    #if arch(x86_64)
      static let isOther = false
    #else
      static let isOther = true
    #endif
  }

  @Test func plainModuleShowsNothingSpecial() throws {
    let facts = try ModuleInfo(path: SampleImages.quiet[0]).image
    #expect(facts.constructors == 0 && facts.destructors == 0 && facts.uniqueSymbols == 0)
    #expect(!facts.isNeverUnmapped && !facts.hasSwiftMetadata && !facts.hasThreadLocalDestructors)
    #expect(facts.soname == nil)
  }

  @Test func flagsAndNamesAreFound() async throws {
    let facts = try await facts(
      "flags", SampleImages.code, "-Wl,-z,nodelete", "-Wl,-soname,libflags.so.1", "-lm", "-Wl,--no-as-needed")
    #expect(facts.isNeverUnmapped && facts.soname == "libflags.so.1" && facts.needed.contains("libc.so.6"))
  }

  @Test func threadLocalDestructorsAreFound() async throws {
    let code =
      SampleImages.code + """
        extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
        static void last(void *argument) { (void)argument; }
        int keep(void);
        __attribute__((visibility("default"))) int keep(void) { return __cxa_thread_atexit_impl(last, 0, &limit); }
        """
    #expect(try await facts("tlsdtor", code).hasThreadLocalDestructors)
  }

  @Test func uniqueSymbolsAreFound() async throws {
    let code =
      SampleImages.code + """
        __asm__(".globl once\\n.type once, @gnu_unique_object\\n.data\\nonce: .long 1\\n.text\\n");
        """
    #expect(try await facts("unique", code).uniqueSymbols == 1)
  }

  @Test func swiftMetadataIsFound() async throws {
    let code =
      SampleImages.code
      + #"__attribute__((used, section("swift5_protocols"))) static const int protocols = 1;"#
    #expect(try await facts("swiftish", code).hasSwiftMetadata)
  }

  /// The entry counts only in the file itself.
  @Test func entryOfANeededLibraryIsNone() async throws {
    let base = await onThread {
      SampleImages.build("needed-base", SampleImages.code, ["-Wl,-soname,needed-base.so"])
    }
    let path = await onThread {
      SampleImages.build("needs-base", "int nothing;", ["-Wl,--no-as-needed", base])
    }
    let info = try ModuleInfo(path: path)
    #expect(info.image.abi == nil && info.moduleName == nil && info.image.needed.contains("needed-base.so"))
  }

  @Test func fileThatIsTooLargeIsRefused() throws {
    let path = "\(SampleImages.folder.path)/huge.so"
    try Data().write(to: URL(filePath: path))
    #expect(truncate(path, off_t(FileContent.limit) + 1) == 0)
    do throws(ModuleFileError) {
      _ = try ModuleInfo(path: path)
      Issue.record("accepted")
    } catch { #expect(error.errno == EFBIG) }
  }
}
