public import Quiescence

extension StallReport.Reader {
  /// The event loop whose thread this is: of a group that
  /// `MultiThreadedEventLoopGroup.quiescent(numberOfThreads:metricsDelegate:)` has made, else nil.
  ///
  /// - Complexity: a lock.
  /// - Threads: any.
  public var eventLoop: String? { LoopThread.loop(ofThread: id) }
}

extension StallReport {
  /// The report in one line, with the event loop of each reader that is the thread of one.
  ///
  /// A loop that is in a report is blocked, or in a long tick: an idle one is offline.
  ///
  /// - Complexity: a lock for each reader.
  /// - Threads: any.
  public var descriptionWithEventLoops: String {
    let loops = readers.compactMap { reader in reader.eventLoop.map { "\(reader) is the thread of \($0)" } }
    return loops.isEmpty ? description : "\(description); \(loops.joined(separator: ", "))"
  }
}
