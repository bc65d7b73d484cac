import Foundation
import ModuleManager
import Synchronization
import ToolSupport

/// Writes the modules' life-cycle events to the host's log, one a line.
final class EventLog: Sendable {
  private let present = Mutex<Set<String>>([])

  init(_ events: ModuleEvents, _ log: LineWriter) {
    Task.detached { [self] in
      for await event in events {
        let number = event.errno.map { " (\(errnoName($0)))" } ?? ""
        let why = event.reason.map { ": \($0)\(number)" } ?? ""
        log.write("\(event.module) is \(event.state)\(why)")
        present.withLock { present in
          if event.state == .gone {
            present.remove(event.module)
          } else {
            present.insert(event.module)
          }
        }
      }
    }
  }

  /// Gives the last events time to be written: every module that came is written as gone, or
  /// `limit` passed.
  func settle(within limit: Duration) {
    let deadline = ContinuousClock.now + limit
    while !present.withLock({ $0.isEmpty }) && ContinuousClock.now < deadline {
      Thread.sleep(forTimeInterval: 0.001)
    }
  }
}
