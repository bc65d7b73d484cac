import Foundation
import ModuleFiles
import ModuleManager

extension RegularFile {
  /// Signs the module in the file, in place of a signature that it has.
  ///
  /// - Returns: what the file says from now on.
  /// - Throws: `ENOEXEC` when the file is no module; `EBADMSG` when it has a signature of another
  ///   version, whose size is not known; what the file system says. Then the file is unchanged.
  public func sign(by key: SigningKey) throws(ModuleFileError) -> ModuleSignature {
    do {
      let signed = try content.withUnsafeBytes { bytes in
        let size = try ModuleSignature(of: bytes)?.size ?? bytes.count
        let module = UnsafeRawBufferPointer(rebasing: bytes[..<size])
        try checkModule(module)
        return try ModuleSignature.append(to: module, by: key)
      }
      let signature = try signed.withUnsafeBytes {
        try ModuleSignature.verified(of: $0, by: [key.verifyingKey])
      }
      try replaceContent(by: signed)
      return signature
    } catch { throw failure(error) }
  }

  /// Returns the signature of the file, made by one of `keys`.
  ///
  /// - Throws: as ``ModuleSignature/verified(of:by:)``.
  public func verify(by keys: [VerifyingKey]) throws(ModuleFileError) -> ModuleSignature {
    do { return try content.withUnsafeBytes { try ModuleSignature.verified(of: $0, by: keys) } } catch {
      throw failure(error)
    }
  }

  private func checkModule(_ module: UnsafeRawBufferPointer) throws(ModuleFileError) {
    if try ModuleInfo(content: module.bytes, path: path).image.abi == nil {
      throw ModuleFileError(path, ENOEXEC, "no module: it does not export quiescent_module")
    }
  }

  private func failure(_ error: any Error) -> ModuleFileError {
    switch error {
    case let error as ModuleFileError: error
    case let error as ModuleVerifier.Refusal: ModuleFileError(path, error.errno, error.reason)
    default: ModuleFileError(path, EIO, "cannot be signed: \(error)")
    }
  }
}
