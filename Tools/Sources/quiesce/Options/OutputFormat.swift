import ArgumentParser

/// How a command prints what it found.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

/// How a command that runs for a while prints: lines for people, or a JSON object a line.
enum RunFormat: String, ExpressibleByArgument, CaseIterable {
  case text, json
}
