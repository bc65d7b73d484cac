import Glibc
import TestSupport
import Testing

@testable import ModuleManager

/// The mapping of an image, found in two ways: by the kernel's query, and in the whole list.
@Suite struct MappingTests {
  @Test func queryAndMapsAgree() async throws {
    let path = await onThread { SampleModules.counting("mapped") }
    let handle = try #require(dlopen(path, RTLD_NOW | RTLD_LOCAL))
    let symbol = try #require(dlsym(handle, "quiescent_module"))
    let first = try ProcessMaps().image(at: symbol)
    let listed = try #require(first)
    #expect(listed.bounds.contains(UInt(bitPattern: symbol)))
    #expect(try ProcessMaps().contains(listed.file, in: listed.bounds))
    if let query = MappingQuery() {
      let (file, bounds) = (listed.file, listed.bounds)
      let asked = query.image(at: symbol)
      #expect(asked?.file == file && asked?.bounds == bounds)
      // An address in the middle of the image, and an address outside it.
      let found = [bounds, bounds.upperBound - 1..<bounds.upperBound].map { query.contains(file, in: $0) }
      #expect(found == [true, true])
      let missed = [4096..<8192, bounds.upperBound..<bounds.upperBound + 4096].map {
        query.contains(file, in: $0)
      }
      #expect(missed == [false, false])
      let anonymous = try #require(
        mmap(nil, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "no memory to look at")
      #expect(query.image(at: anonymous) == nil, "a mapping without a file is no image")
      munmap(anonymous, 4096)
    }
    #expect(dlclose(handle) == 0)
    #expect(try !ProcessMaps().contains(listed.file, in: listed.bounds))
    if let query = MappingQuery() {
      let isThere = query.contains(listed.file, in: listed.bounds)
      // By now another test may have mapped an image of its own there.
      let image = query.image(at: symbol)
      #expect(!isThere && image?.file != listed.file)
    }
  }

  /// The list, for kernels without the query.
  @Test func mapsAreParsed() {
    let maps = ProcessMaps(
      text: """
        55d0c0000000-55d0c0001000 r--p 00000000 fe:01 77 /bin/a b
        7f0000000000-7f0000001000 r-xp 00000000 00:2a 4711 /tmp/m.so (deleted)
        7f0000001000-7f0000003000 rw-p 00001000 00:2a 4711 /tmp/m.so (deleted)
        7f0000003000-7f0000004000 rw-p 00000000 00:00 0
        no line at all
        7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
        """)
    let file = MappedFile(major: 0, minor: 0x2a, inode: 4711)
    #expect(maps.mappings.count == 3)
    let image = maps.image(at: UnsafeRawPointer(bitPattern: 0x7f00_0000_1800)!)
    #expect(image?.file == file)
    #expect(image?.bounds == 0x7f00_0000_0000..<0x7f00_0000_3000)
    #expect(maps.image(at: UnsafeRawPointer(bitPattern: 0x7f00_0000_3800)!) == nil)
    #expect(maps.contains(file, in: 0x7f00_0000_2fff..<0x7f00_0000_5000))
    #expect(!maps.contains(file, in: 0x7f00_0000_3000..<0x7f00_0000_5000))
  }
}
