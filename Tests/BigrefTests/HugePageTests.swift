import Foundation
import TestSupport
import Testing

@testable import Bigref

/// The counters' memory comes in pages of the usual size.
@Suite(.exclusive) struct HugePageTests {
  /// Shown in a program that maps the arena as a system does whose setting is "always": every
  /// mapping may take huge pages until it is told otherwise. The same program without the arena's
  /// `madvise` is the control: it has to take a huge page, or the first half shows nothing.
  @Test func firstCounterTakesSmallPagesWhereHugeOnesAreAlwaysUsed() async throws {
    let setting = try String(contentsOfFile: "\(Self.settings)/enabled", encoding: .utf8)
    let hugePage = Int(
      try String(contentsOfFile: "\(Self.settings)/hpage_pmd_size", encoding: .utf8)
        .trimmingCharacters(in: .whitespacesAndNewlines))
    let size = try #require(hugePage)
    let (arena, control) = await onThread {
      let folder = Compiler.temporaryFolder()
      defer { try? FileManager.default.removeItem(at: folder) }
      return (
        Compiler.run([Compiler.program(Self.program, in: folder, named: "arena", "-DHUGE_PAGE=\(size)")]),
        Compiler.run([
          Compiler.program(Self.program, in: folder, named: "control", "-DHUGE_PAGE=\(size)", "-DCONTROL")
        ])
      )
    }
    let growth = try #require(Self.growth(arena)), withoutAdvice = try #require(Self.growth(control))
    #expect(growth > 0 && growth <= 1 << 17, "\(arena.output)")
    if setting.contains("[never]") {
      // Then no mapping has huge pages, whatever it asks for.
      #expect(withoutAdvice <= 1 << 17, "\(control.output)")
    } else {
      #expect(withoutAdvice >= size, "\(control.output)")
    }
  }

  /// In this very process, whatever the system's setting: the kernel lists the mapping as one
  /// without huge pages.
  @Test func arenaOfThisProcessHasNoHugePages() async throws {
    let cell = await onThread {
      let count = Bigref()
      count.acquire()
      defer { count.release() }
      return UInt(bitPattern: count.storage.cell.pointer)
    }
    let flags = try #require(try Self.flags(of: cell))
    #expect(flags.contains("nh"), "\(flags)")
    // The check of the check: a mapping of its own has the flag after it asks for it, and not
    // before.
    let size = 1 << 22
    let other = try #require(mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    defer { munmap(other, size) }
    let before = try #require(try Self.flags(of: UInt(bitPattern: other)))
    #expect(!before.contains("nh"), "\(before)")
  }

  private static let settings = "/sys/kernel/mm/transparent_hugepage"

  /// Resident bytes that the program has gained.
  private static func growth(_ run: Compiler.Run) -> Int? {
    let numbers = run.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    return run.status == 0 && numbers.count == 2 ? numbers[1] - numbers[0] : nil
  }

  /// The kernel's flags of the mapping that holds the address.
  private static func flags(of address: UInt) throws -> [Substring]? {
    // Not by `String(contentsOfFile:)`, which takes the first page of a file whose size is 0 for
    // all of it.
    let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
    let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
    var isInside = false
    for line in text.split(separator: "\n") {
      if let range = line.split(separator: " ").first, range.contains("-"), !range.hasSuffix(":") {
        let ends = range.split(separator: "-").compactMap { UInt($0, radix: 16) }
        isInside = ends.count == 2 && ends[0] <= address && address < ends[1]
      } else if isInside, line.hasPrefix("VmFlags:") {
        return line.split(separator: " ")
      }
    }
    return nil
  }

  /// Prints the resident bytes before and after the first counter is created and counts on two
  /// processors.
  private static let program = """
    #define _GNU_SOURCE
    #include <stdint.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <unistd.h>

    // In the middle of a region of which any part may become huge pages, as when the kernel has
    // merged the mapping with its neighbors. The region starts at a multiple of the size of a huge
    // page.
    static void *map_huge(void *where, size_t size, int protection, int flags, int file, off_t offset) {
      size_t region = 2 * (size_t)HUGE_PAGE + (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
      char *start = mmap(where, region, protection, flags, file, offset);
      if (start == MAP_FAILED) abort();
      madvise(start, region, MADV_HUGEPAGE);
      return (char *)(((uintptr_t)start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    }

    #if defined(CONTROL)
    static int no_advice(void *start, size_t size, int advice) { (void)start, (void)size, (void)advice; return 0; }
    #define madvise no_advice
    #endif
    #define mmap map_huge
    #include "arena.c"
    #include "trap.c"

    static long resident(void) {
      long size, pages = 0;
      FILE *file = fopen("/proc/self/statm", "r");
      if (file == NULL || fscanf(file, "%ld %ld", &size, &pages) != 2) abort();
      fclose(file);
      return pages * sysconf(_SC_PAGESIZE);
    }

    int main(void) {
      resident();
      long before = resident();
      struct qs_cell *cell = qs_cell_create();
      for (int processor = 0; processor < 2 && processor < (int)qs_cell_processors(); processor++)
        *(uint64_t *)(cell->slot + ((size_t)processor << QS_SLOT_SHIFT)) += 1;
      printf("%ld %ld\\n", before, resident());
    }
    """
}
