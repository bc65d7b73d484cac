package import Glibc

/// Whether users other than root and the user of this process can change a file, or what a
/// directory holds.
package enum FileTrust {
  /// Why others decide what is read; nil when they do not.
  package static func fault(of status: stat, isFolder: Bool) -> String? {
    if status.st_uid != 0 && status.st_uid != geteuid() {
      return "belongs to user \(status.st_uid), neither root nor the user of this process"
    }
    // In a sticky directory, such as /tmp, others cannot replace a file of this owner.
    if status.st_mode & 0o022 != 0 && !(isFolder && status.st_mode & S_ISVTX != 0) {
      return "may be written by others than its owner; see chmod(1): go-w"
    }
    return nil
  }

  /// Throws `EPERM` when others decide what is at `path`. What is not there is no fault: the call
  /// that reads it says so.
  static func check(_ path: String) throws(ModuleFileError) {
    var status = stat()
    if stat(path, &status) != 0 { return }
    if let reason = fault(of: status, isFolder: status.st_mode & S_IFMT == S_IFDIR) {
      throw ModuleFileError(path, EPERM, reason)
    }
  }
}
