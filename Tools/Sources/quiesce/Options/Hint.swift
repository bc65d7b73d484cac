import ControlProtocol
import Foundation
import ToolSupport

/// What to do next about a refusal: a second line for people, where standard error is a terminal.
/// Programs get the one line.
enum Hint {
  /// Writes what went wrong with `command`, and on a terminal what to do next.
  static func write(_ error: any Error, of command: String) {
    for line in lines(error, of: command) { StandardError.write(line) }
  }

  /// What went wrong with `command`, and on a terminal what to do next.
  static func lines(_ error: any Error, of command: String) -> [String] {
    let line = "quiesce: \(command): \(error)"
    guard isatty(STDERR_FILENO) != 0, let error = error as? ControlError,
      let hint = text(for: error, command)
    else { return [line] }
    return [line, "  \(hint)"]
  }

  /// Nil where there is nothing better to do than what the line says.
  static func text(for error: ControlError, _ command: String) -> String? {
    let message = error.message
    switch (error.errnoName, command) {
    case ("ENOENT", _) where message.hasPrefix("no host at "):
      return "`quiesce host` starts one; --control names the socket of another."
    case ("EBUSY", "rmmod") where message.contains("in use"):
      return "--wait takes no new users and waits for these; --when-idle lets new ones in meanwhile."
    case ("EBUSY", "modprobe") where message.contains("in use"):
      return "`quiesce rmmod --wait` waits for them."
    case ("EWOULDBLOCK", _): return "Unload those as well: `quiesce rmmod` takes several, in any order."
    case ("ETIMEDOUT", "replace"): return "The old version serves on. `quiesce trace` shows what takes long."
    case ("ETIMEDOUT", _):
      return "It serves on. `quiesce trace` shows the references that are taken and given back."
    case ("EEXIST", "insmod"), ("EEXIST", "modprobe"):
      return "`quiesce set` changes parameters of a loaded module; `quiesce replace` replaces it."
    case ("ENOENT", "insmod") where message.contains("which is not loaded"):
      return "`quiesce modprobe` loads what it needs first."
    case ("ENOENT", "insmod"):
      return "A path has a / in it: ./NAME.so. Names are looked up in the host's module directory."
    case ("ENOENT", "modprobe") where message.contains("an alias for it"):
      return "`quiesce depmod --dry-run DIRECTORY` shows the names and aliases that there are."
    case ("ENOENT", "replace") where message.contains("no such module is loaded"):
      return "`quiesce insmod` loads a module that is not loaded."
    case ("ENOENT", "rmmod"), ("ENOENT", "set"): return "`quiesce lsmod` lists what is loaded."
    case ("EKEYREJECTED", _), ("ENOKEY", _): return "`quiesce sign --key KEY FILE` signs it."
    case ("EPERM", _) where message.contains("the configuration forbids"):
      return "`quiesce modprobe --show-config` shows the rules."
    default: return nil
    }
  }
}
