import Glibc
import ModuleFiles

/// The input is a module's file. Its inspection refuses it, or says what is in it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let input = UnsafeRawBufferPointer(start: bytes, count: count)
  do throws(ModuleFileError) {
    let info = try ModuleInfo(content: input.bytes, path: "fuzz.so")
    _ = (info.image.residency, info.depends, info.aliases, info.softBefore, info.softAfter)
    try info.checkName()
  } catch {
    precondition([ENOEXEC, EINVAL].contains(error.errno), "\(error)")
    precondition(!error.reason.isEmpty && !error.reason.utf8.contains(10), "\(error)")
  }
  return 0
}
