import Foundation
internal import Quiescence

/// Runs the compilers that built the tests, on code in a test.
package enum Compiler {
  /// The output and exit status of a program.
  package struct Run: Sendable {
    package let status: Int32
    package let output: String
  }

  /// The root of the package.
  package static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Compiles Swift code against the modules of this build, including the checks of lifetimes and
  /// ownership.
  package static func swift(_ code: String) async -> Run {
    await onThread {
      // The test bundle is in the build folder, and the modules are in a folder beside it.
      let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      let bundle = ProcessInfo.processInfo.arguments.first { $0.hasSuffix(".xctest") }
      let products = (bundle.map { URL(filePath: $0) } ?? executable).deletingLastPathComponent()
      let file = temporaryFile("swift", code)
      defer { try? FileManager.default.removeItem(at: file) }
      return run([
        "swiftc", "-emit-sil", "-o", "/dev/null", "-swift-version", "6",
        "-module-cache-path", products.appending(path: "ModuleCache").path,
        "-I", products.appending(path: "Modules").path, "-I", products.path,
        "-Xcc", "-I\(root.appending(path: "Sources/_QuiescenceShims/include").path)",
        "-Xcc", "-I\(root.appending(path: "Sources/CModuleABI/include").path)", file.path,
      ])
    }
  }

  /// Compiles C code to a shared object, and returns its path. Traps if the code does not compile.
  package static func module(
    _ code: String, in folder: URL, named name: String, options: [String] = []
  ) -> String {
    let file = temporaryFile("c", code)
    defer { try? FileManager.default.removeItem(at: file) }
    let object = folder.appending(path: "\(name).so")
    let result = run(
      [
        "clang", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-fvisibility=hidden",
        "-I\(root.appending(path: "Sources/CModuleABI/include").path)", "-o", object.path, file.path,
      ] + options)
    precondition(result.status == 0, "clang: \(result.output)")
    return object.path
  }

  /// Compiles code to an object file, and returns its path: C++ or Swift, as the name ends.
  /// Traps if the code does not compile.
  package static func object(_ code: String, in folder: URL, named name: String) -> String {
    let source = folder.appending(path: name)
    do { try code.write(to: source, atomically: true, encoding: .utf8) } catch {
      fatalError("no file for a test: \(error)")
    }
    let object = source.path + ".o"
    let command =
      name.hasSuffix(".swift")
      ? ["swiftc", "-parse-as-library", "-O", "-emit-object"]
      : ["clang++", "-c", "-fPIC", "-O1", "-std=c++17", "-Wall", "-Werror"]
    let result = run(command + ["-o", object, source.path])
    precondition(result.status == 0, "\(command[0]): \(result.output)")
    return object
  }

  /// Options for the linker: what registers Swift code with the runtime, and the runtime.
  package static var swiftLibraries: [String] {
    let compiler = run(["which", "swiftc"]).output.split(separator: "\n").first.map(String.init) ?? ""
    let folder = URL(filePath: compiler).resolvingSymlinksInPath().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "lib/swift/linux").path
    #if arch(x86_64)
      let processor = "x86_64"
    #else
      let processor = "aarch64"
    #endif
    return [
      "\(folder)/\(processor)/swiftrt.o", "-L\(folder)", "-lswiftCore", "-Wl,-rpath,\(folder)",
    ]
  }

  /// Compiles C code to a program, with the shims' folders on its search path; returns the
  /// program's path. Fails the process when the code is wrong. Blocks: call it on a thread of one's
  /// own.
  package static func program(
    _ code: String, in folder: URL, named name: String, _ flags: String...
  ) -> String {
    let file = temporaryFile("c", code)
    defer { try? FileManager.default.removeItem(at: file) }
    let program = folder.appending(path: name)
    let shims = root.appending(path: "Sources/_QuiescenceShims")
    let result = run(
      [
        "clang", "-O2", "-Wall", "-Werror", "-pthread", "-I\(shims.path)",
        "-I\(shims.appending(path: "include").path)", "-o", program.path, file.path,
      ] + flags)
    precondition(result.status == 0, "clang: \(result.output)")
    return program.path
  }

  /// Creates a new folder for the calling test alone.
  package static func temporaryFolder() -> URL {
    // What others may write to is not loaded.
    umask(0o022)
    let folder = FileManager.default.temporaryDirectory.appending(path: "quiescence-\(UUID().uuidString)")
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch { fatalError("no temporary folder for a test: \(error)") }
    return folder
  }

  private static func temporaryFile(_ ending: String, _ text: String) -> URL {
    let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).\(ending)")
    do { try text.write(to: file, atomically: true, encoding: .utf8) } catch {
      fatalError("no temporary file for a test: \(error)")
    }
    return file
  }

  /// Runs a program, found through the PATH. Blocks: call it on a thread of its own.
  package static func run(_ command: [String]) -> Run {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    do { try process.run() } catch { return Run(status: -1, output: "\(error)") }
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Run(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
  }
}
