import Foundation
import ModuleFiles
import Testing

@testable import ModuleSigning

extension EndToEndTests {
  /// `keygen`, `sign`, `verify`, and a host that loads nothing else.
  @Suite struct Signing {
    /// A folder with a key and a module.
    private final class Scene: Sendable {
      let folder: ModuleFolder
      let identifier: String
      var key: String { folder.directory.file("builds.key") }

      init() throws {
        folder = try ModuleFolder()
        try folder.add("base")
        let made = try Child(
          Built.quiesce, ["keygen", folder.directory.file("builds.key"), "--name", "builds"]
        ).wait()
        try #require(made.status == 0 && made.error.isEmpty, "\(made.error)")
        let words = made.output.split(separator: " ")
        try #require(words.count == 4 && words[3] == "'builds'\n", "\(made.output)")
        identifier = String(words[2].dropLast())
      }

      func file(_ name: String) -> String { folder.directory.file(name) }

      func run(_ arguments: String...) throws -> Child.Outcome { try Child(Built.quiesce, arguments).wait() }

      func tool(_ program: String, _ arguments: String...) throws {
        let outcome = try Child(program, arguments).wait()
        try #require(outcome.status == 0, "\(program): \(outcome.error)")
      }
    }

    @Test func signedModuleIsVerifiedShownAndLoaded() async throws {
      try await onThread {
        let scene = try Scene()
        let path = scene.file("base.so")
        let line = "\(path): signed by 'builds', key \(scene.identifier)\n"
        let signed = try scene.run("sign", "--key", scene.key, path)
        #expect(signed.status == 0 && signed.output == line && signed.error.isEmpty)
        let verified = try scene.run("verify", "--key", "\(scene.key).pub", path)
        #expect(verified.status == 0 && verified.output == line && verified.error.isEmpty)
        let shown = try scene.run("modinfo", path).output
        #expect(
          shown.hasSuffix(
            """
            sig_id:         Ed25519
            signer:         builds
            sig_key:        \(scene.identifier)

            """))
        let json = try scene.run("modinfo", "--format", "json", path).output
        #expect(
          json.hasSuffix(
            #""signature":{"sig_id":["Ed25519"],"sig_key":["\#(scene.identifier)"],"signer":["builds"]}}]"#
              + "\n"))
        // The loader takes it as it is.
        let handle = try #require(dlopen(path, RTLD_NOW), "\(String(cString: dlerror()))")
        #expect(dlsym(handle, "quiescent_module") != nil)
        dlclose(handle)

        // Copied and moved, it is signed, and loads in a host that requires a signature.
        try scene.tool("cp", path, scene.file("copy.so"))
        try scene.tool("mv", scene.file("copy.so"), path)
        try scene.run("depmod", scene.folder.path)
        let host = try TestHost(modules: scene.folder.path, "--require-signed", "\(scene.key).pub")
        try host.expectSuccess(of: "modprobe", "base")
        #expect(try host.modules() == ["base": "live"])
        try host.expectSuccess(of: "rmmod", "base")
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func hostRefusesWhatIsNotSignedByARequiredKey() async throws {
      try await onThread {
        let scene = try Scene()
        let path = scene.file("base.so")
        let other = try Scene()
        let host = try TestHost(
          modules: scene.folder.path, "--require-signed", "\(scene.key).pub", "--require-signed",
          "\(other.key).pub")
        let refused = "quiesce: insmod: \(path): require-signed refuses it: "
        try host.expectRefusal("\(refused)it has no signature (EKEYREJECTED)", from: "insmod", path)
        try host.expectRefusal(
          "quiesce: modprobe: \(path): require-signed refuses it: it has no signature (EKEYREJECTED)",
          from: "modprobe", "base")
        let stranger = try Scene()
        #expect(try scene.run("sign", "--key", stranger.key, path).status == 0)
        try host.expectRefusal(
          "\(refused)it is signed by key \(stranger.identifier), 'builds', which is not a required key (ENOKEY)",
          from: "insmod", path)
        // Each of the two keys suffices.
        for signer in [scene, other] {
          #expect(try scene.run("sign", "--key", signer.key, path).status == 0)
          try host.expectSuccess(of: "insmod", path)
          try host.expectSuccess(of: "rmmod", "base")
        }
        var content = try RegularFile(path: path).content
        content[content.count / 2] ^= 1
        try Data(content).write(to: URL(filePath: path))
        try host.expectRefusal(
          "\(refused)it is not what key \(other.identifier), 'builds', has signed: it was changed (EKEYREJECTED)",
          from: "insmod", path)
        // What strip(1) leaves has no signature.
        content[content.count / 2] ^= 1
        try Data(content).write(to: URL(filePath: path))
        try host.expectSuccess(of: "insmod", path)
        try host.expectSuccess(of: "rmmod", "base")
        try scene.tool("strip", "--strip-debug", path)
        try host.expectRefusal("\(refused)it has no signature (EKEYREJECTED)", from: "insmod", path)
        try Data(content.dropLast()).write(to: URL(filePath: path))
        try host.expectRefusal("\(refused)it has no signature (EKEYREJECTED)", from: "insmod", path)
        try host.expectService()
        #expect(try host.terminate().status == 0)
      }
    }

    @Test func signRefusesWhatIsNoModuleAndSignsTheRest() async throws {
      try await onThread {
        let scene = try Scene()
        let built = try Built.modules.get()
        for name in ["noentry", "oldabi"] {
          try scene.tool("cp", "\(built)/\(name).so", scene.file("\(name).so"))
        }
        try scene.folder.directory.write("", to: "empty.so")
        try scene.folder.directory.write("#!/bin/sh\n", to: "script.so")
        #expect(mkfifo(scene.file("pipe.so"), 0o600) == 0)
        try FileManager.default.createDirectory(
          atPath: scene.file("folder.so"), withIntermediateDirectories: false)
        let names = ["empty", "script", "pipe", "folder", "noentry", "absent", "base"]
        let outcome = try Child(
          Built.quiesce, ["sign", "--key", scene.key] + names.map { scene.file("\($0).so") }
        ).wait()
        #expect(outcome.status == 1)
        #expect(
          outcome.error == """
            quiesce: sign: \(scene.file("empty.so")): not an ELF file (ENOEXEC)
            quiesce: sign: \(scene.file("script.so")): not an ELF file (ENOEXEC)
            quiesce: sign: \(scene.file("pipe.so")): not a regular file (EINVAL)
            quiesce: sign: \(scene.file("folder.so")): is a directory (EISDIR)
            quiesce: sign: \(scene.file("noentry.so")): no module: it does not export quiescent_module (ENOEXEC)
            quiesce: sign: \(scene.file("absent.so")): no such file (ENOENT)

            """)
        #expect(outcome.output == "\(scene.file("base.so")): signed by 'builds', key \(scene.identifier)\n")
        let checked = try Child(
          Built.quiesce, ["verify", "--key", "\(scene.key).pub"] + names.map { scene.file("\($0).so") }
        ).wait()
        #expect(checked.status == 1 && checked.output == outcome.output)
        #expect(
          checked.error.hasPrefix(
            "quiesce: verify: \(scene.file("empty.so")): it has no signature (EKEYREJECTED)\n"))
        #expect(checked.error.split(separator: "\n").count == 6)
      }
    }

    /// The calling thread alone becomes another user for files.
    private func asAnotherUser(_ body: () throws -> Void) throws {
      guard geteuid() == 0 else { return try body() }
      let symbol = try #require(dlsym(nil, "setfsuid"))
      typealias Function = @convention(c) (uid_t) -> Int32
      let setfsuid = unsafeBitCast(symbol, to: Function.self)
      _ = setfsuid(65534)
      defer { _ = setfsuid(0) }
      try body()
    }

    @Test func filesThatCannotBeReadOrReplacedAreNamed() async throws {
      try await onThread {
        let scene = try Scene()
        let path = scene.file("base.so")
        let key = try SigningKey(path: scene.key)
        let before = try RegularFile(path: path)
        #expect(chmod(path, 0) == 0)
        try asAnotherUser {
          do {
            _ = try RegularFile(path: path)
            Issue.record("it was read")
          } catch { #expect("\(error)" == "\(path): cannot be opened (EACCES)") }
        }
        #expect(chmod(path, 0o644) == 0 && chmod(scene.folder.path, 0o555) == 0)
        try asAnotherUser {
          do {
            _ = try RegularFile(path: path).sign(by: key)
            Issue.record("it was signed")
          } catch {
            #expect("\(error)" == "\(path): cannot be written: its directory takes no file (EACCES)")
          }
        }
        #expect(chmod(scene.folder.path, 0o755) == 0)
        #expect(try RegularFile(path: path).content == before.content)
      }
    }

    @Test func hostDoesNotStartWithoutItsKeys() async throws {
      try await onThread {
        let scene = try Scene()
        for (key, reason) in [
          (scene.key, "is a private key; the public one verifies, \(scene.key).pub (EINVAL)"),
          (scene.file("none"), "no such file (ENOENT)"),
        ] {
          let host = try Child(
            Built.quiesce,
            [
              "host", "--listen", "127.0.0.1:0", "--forward", "127.0.0.1:9", "--control", scene.file("s"),
              "--require-signed", key,
            ]
          ).wait()
          #expect(host.status == 1 && host.output.isEmpty)
          #expect(host.error == "quiesce: host: \(key): \(reason)\n")
        }
        let missing = try scene.run("verify", scene.file("base.so"))
        #expect(missing.status == 64 && missing.error.contains("--key"))
        // Whatever the mask of modes is.
        let open = scene.file("open.key")
        try scene.tool("/bin/sh", "-c", "umask 0 && \(Built.quiesce) keygen \(open)")
        for (name, mode) in [(open, 0o600), ("\(open).pub", 0o644)] as [(String, mode_t)] {
          var status = stat()
          #expect(stat(name, &status) == 0 && status.st_mode & 0o7777 == mode)
        }
        let again = try scene.run("keygen", scene.key)
        #expect(
          again.status == 1
            && again.error
              == "quiesce: keygen: \(scene.key): is there already; a key is not overwritten (EEXIST)\n"
        )
      }
    }
  }
}
