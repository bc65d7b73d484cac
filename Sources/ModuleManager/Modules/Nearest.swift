/// What there is, for an error about a name that is not there.
enum Nearest {
  /// Such as `nearest is 'incoming'; there are 'incoming', 'outgoing'`. At most eight names.
  static func text(_ name: String, among names: some Collection<String>) -> String {
    if names.isEmpty { return "there is none" }
    let sorted = names.sorted()
    var text = sorted.prefix(8).map { "'\($0)'" }.joined(separator: ", ")
    if sorted.count > 8 { text += " and \(sorted.count - 8) more" }
    text = (sorted.count == 1 ? "there is " : "there are ") + text
    guard sorted.count > 1, let nearest = nearest(to: name, among: sorted) else { return text }
    return "nearest is '\(nearest)'; \(text)"
  }

  /// The name with the fewest changes of a character; nil if the best one needs more changes than
  /// half of its length.
  static func nearest(to name: String, among names: [String]) -> String? {
    // Names from a module may be long, and the table below is their product.
    if name.utf8.count > 256 { return nil }
    let distances = names.filter { $0.utf8.count <= 256 }.map { (name: $0, distance: distance(name, $0)) }
    guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance * 2 <= max(best.name.utf8.count, name.utf8.count) ? best.name : nil
  }

  /// The number of characters to insert, remove or replace. Source: Levenshtein, 1965.
  private static func distance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    var row = Array(0...right.count)
    for (index, character) in left.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for (column, other) in right.enumerated() {
        let next = min(row[column] + 1, row[column + 1] + 1, diagonal + (character == other ? 0 : 1))
        diagonal = row[column + 1]
        row[column + 1] = next
      }
    }
    return row[right.count]
  }
}
