import ArgumentParser

/// `NAME=VALUE`, as modules' parameters are given.
struct ParameterWord {
  let name: String
  let value: String

  /// Nil without a `=`, or with nothing before it.
  init?(_ word: String) {
    guard let end = word.firstIndex(of: "="), end != word.startIndex else { return nil }
    name = String(word[..<end])
    value = String(word[word.index(after: end)...])
  }

  /// All of them by their names.
  static func all(_ words: some Sequence<String>) throws -> [String: String] {
    var all: [String: String] = [:]
    for word in words {
      guard let parameter = ParameterWord(word) else {
        throw ValidationError("'\(word)' is no parameter: PARAMETER=VALUE.")
      }
      if all.updateValue(parameter.value, forKey: parameter.name) != nil {
        throw ValidationError("The parameter '\(parameter.name)' is given twice.")
      }
    }
    return all
  }
}
